"""The commands: each returns its exit code and leaves exiting to cli.py."""
