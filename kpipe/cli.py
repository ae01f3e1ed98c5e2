"""The command line. Only here an error becomes an exit code: 0 done, 1 a stage failed, 2 wrong input, 130 interrupted."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import NoReturn

from kpipe import console
from kpipe.arguments import parser
from kpipe.errors import Interrupted, KpipeError, StoreError, disk_hint


def invoke(argv: Sequence[str]) -> int:
    """Run a command line; its exit code."""
    try:
        args = parser().parse_args(argv)
        module, function = args.function.split(".")
        return int(getattr(import_module(f"kpipe.commands.{module}"), function)(args))
    except KpipeError as e:
        console.error(e)
        return e.exit_code
    except KeyboardInterrupt:
        console.say("interrupted: workers stopped; what was committed stays")
        return Interrupted.exit_code
    except BrokenPipeError:  # who read our output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return StoreError.exit_code
    except OSError as e:
        console.error(StoreError(f"{e.filename or 'the file system'}: {e.strerror or e}", hint=disk_hint(e)))
        return StoreError.exit_code


def interrupt(number: int, frame: FrameType | None) -> None:
    """A scheduler's SIGTERM ends a run as Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Entry point."""
    signal.signal(signal.SIGTERM, interrupt)
    sys.exit(invoke(sys.argv[1:]))
