"""What was computed from a file, remembered under the state the file was in."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kpipe.files import read_json, write_json

RECENT_NS = 2_000_000_000  # FAT keeps time stamps to 2 s: what is younger may change again under the same stamp

Stamp = tuple[int, int, int, int]


def stamp(info: os.stat_result) -> Stamp:
    """What tells that a file was not touched: inode, size, time of change of content and of inode (ns)."""
    return info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def settled(state: Stamp) -> bool:
    """Whether a stamp is old enough to be believed; one from the future never is."""
    return max(state[2:]) < time.time_ns() - RECENT_NS


class StatCache:
    """Values computed from a file's content, remembered under the file's stamp; a stamp too young to trust is not."""

    def __init__(self, path: Path | None = None, drafts: Callable[[], Path | None] = lambda: None) -> None:
        self.path = path
        self.drafts = drafts  # the folder in which it is written
        self._entries: dict[str, list[Any]] = (read_json(path) if path else None) or {}
        self._dirty = False

    @property
    def folders(self) -> Path | None:
        """Where the states of whole folders are kept."""
        return self.path.with_suffix("") if self.path else None

    def get(self, name: str, state: Stamp) -> Any | None:
        """The value kept under a name for a file in this very state, or None."""
        entry = self._entries.get(name)
        return entry[1] if entry and tuple(entry[0]) == state else None

    def put(self, name: str, state: Stamp, value: Any) -> None:
        """Keep a value computed from the file while it had this state."""
        if settled(state):
            self._entries[name] = [state, value]
            self._dirty = True

    def save(self) -> None:
        """Write the cache where it came from; losing it costs time only."""
        if self._dirty and self.path:
            write_json(self.path, self._entries, self.drafts())
            self._dirty = False
