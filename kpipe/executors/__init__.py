"""Where stages run: one file an executor."""
