"""Measurements against other tools: commands, not tests. Each prints its figures with the machine they were taken on."""
