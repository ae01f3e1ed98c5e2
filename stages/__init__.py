"""The science: six stages and what they share. Each stage is a plain function run(stage, *, parameters)."""
