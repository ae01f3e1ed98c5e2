"""One process in a store: its drafts, and what it uses. Both count for as long as the process lives, however it ends."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

from kpipe.files import draft_folder, try_lock


class Session:
    """Begins with the first draft or hold. Its lock file lists what it holds; no gc of another process removes that."""

    def __init__(self, root: Path) -> None:
        self._root = root / "staging"
        self._folder: Path | None = None
        self._lock: IO[str] | None = None
        self._held: set[str] = set()

    def _begin(self) -> tuple[Path, IO[str]]:
        if self._folder is None or self._lock is None:
            sweep(self._root)
            while self._lock is None:  # a sweeper may have it before us, and then removes it
                self._folder = self._root / secrets.token_hex(8)
                self._lock = try_lock(self._folder.with_suffix(".lock"))
        assert self._folder
        self._folder.mkdir(exist_ok=True)
        return self._folder, self._lock

    def drafts(self) -> Path:
        """A folder on the store's file system for what is being written, gone with this process."""
        return self._begin()[0]

    def draft(self) -> Path:
        """An empty folder in it."""
        return draft_folder(self.drafts())

    def hold(self, digests: Iterable[str]) -> None:
        """Use artifacts from here on."""
        new = set(digests) - self._held
        if new:
            lock = self._begin()[1]
            os.write(lock.fileno(), "".join(f"{digest}\n" for digest in sorted(new)).encode())
            self._held |= new

    def close(self) -> None:
        """Remove the drafts and let go of everything."""
        if self._folder and self._lock:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.with_suffix(".lock").unlink(missing_ok=True)
            self._lock.close()
            self._folder = self._lock = None
            self._held = set()


def sweep(staging: Path) -> None:
    """Remove the drafts of processes that are gone: those whose lock can be had."""
    for path in staging.glob("*.lock"):
        lock = try_lock(path)
        if lock is not None:
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)
            lock.close()


def held(root: Path) -> set[str]:
    """What living processes use in a store."""
    sweep(root / "staging")
    found: set[str] = set()
    for path in (root / "staging").glob("*.lock"):
        with suppress(FileNotFoundError):  # it ended in this very moment
            found.update(path.read_text().split())
    return found
