"""Tools that go through the stages' door but are not stages: nothing of them is cached."""
