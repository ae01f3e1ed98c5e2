"""What goes wrong in practice, done to kpipe and to other tools, and what each of them makes of it."""
