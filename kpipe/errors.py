"""Everything that can go wrong, as values; only cli.py turns one into an exit code.

KpipeError                    message, hint
├── ConfigError         (2)   the file or the arguments are wrong: one or more Problems
├── StageFailed         (1)   a stage raised, its process died, or its inputs changed while it ran
├── StoreError          (1)   the store cannot be read or written
├── OtherCode           (1)   what a stage imports or reads is not what its key names
├── RemoteError         (1)   what a URL names cannot be reached, or nothing tells whether it has changed
└── Interrupted       (130)   Ctrl-C
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


class KpipeError(Exception):
    """An error for a person: what happened, and a hint how to mend it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Problem:
    """One mistake in a file: where it stands, what is wrong, what would be allowed."""

    message: str
    path: tuple[str | int, ...] = ()  # keys from the top of the TOML file down to the mistake
    on: str = "value"  # "key" or "value": what the caret points at
    hint: str | None = None
    file: Path | None = None  # where the mistake is not in the pipeline file itself
    line: int = 0  # 1-based; 0 where the position is still to be found from `path`
    column: int = 0
    length: int = 1


class ConfigError(KpipeError):
    """The pipeline file, a stage's source or the command line is wrong; nothing was run."""

    exit_code = 2

    def __init__(
        self,
        problems: Sequence[Problem] | str,
        *,
        file: Path | None = None,
        overrides: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        if isinstance(problems, str):
            problems = [Problem(problems, hint=hint)]
        super().__init__("; ".join(p.message for p in problems), hint=hint)
        self.problems = list(problems)
        self.file = file
        self.overrides = overrides  # --set KEY=VALUE that were put into the file's values


class StageFailed(KpipeError):
    """One stage instance failed: its own traceback if its code raised, and where its log is."""

    def __init__(
        self, instance: str, message: str, *, hint: str | None = None, trace: str | None = None, log: Path | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.instance = instance
        self.trace = trace
        self.log = log


class StoreError(KpipeError):
    """The store cannot be read or written."""


class RemoteError(KpipeError):
    """What a URL names cannot be reached or seen, or is not what it is said to be."""


class OtherCode(KpipeError):
    """What a stage imports or reads is not what its key names."""


class Interrupted(KpipeError):
    """The person pressed Ctrl-C."""

    exit_code = 130


FULL = "the disk is full: free some space; kpipe gc shows what the cache may lose"


def disk_hint(error: OSError) -> str:
    """What a person can do where the file system refuses."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"{FULL}; earlier results are intact" if full else "earlier results are intact"


def hint_for(error: BaseException) -> str | None:
    """What a person can do about an error that is not the stage's own."""
    disk = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
    return disk_hint(error) if isinstance(error, OSError) and error.errno in disk else None


def nearest(name: object, allowed: Iterable[object]) -> str | None:
    """The allowed name most like `name`, or None where none is near."""
    found = get_close_matches(str(name), [str(a) for a in allowed], n=1, cutoff=0.6)
    return found[0] if found else None


def several(names: Sequence[object], most: int = 3) -> str:
    """The first few of many names: a, b, c and 4 more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def listing(names: Iterable[object]) -> str:
    """Names as a person reads them in a sentence: a, b, c."""
    return ", ".join(str(n) for n in names) or "(none)"
