"""python -m kpipe."""

from kpipe.cli import main

if __name__ == "__main__":
    main()
