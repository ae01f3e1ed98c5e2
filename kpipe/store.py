"""The content-addressed store: objects (artifacts by content), records (key -> object), logs, scratch, heads."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from kpipe import sealed
from kpipe.digest import StatCache
from kpipe.errors import StoreError
from kpipe.files import draft_folder, locked, read_json, try_lock, write_json
from kpipe.identity import python_minor
from kpipe.source import FACTS


class Store:
    """A folder on one file system. Objects never change; a record is published last, so what it names is whole."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            (root / "objects").mkdir(parents=True, exist_ok=True)
            (root / "records").mkdir(exist_ok=True)
        except OSError as e:
            raise StoreError(
                f"the store {root} cannot be written: {e.strerror}", hint="KPIPE_STORE names another folder"
            ) from None
        self.files = StatCache(root / "cache" / "files.json")
        self.sources = StatCache(root / "cache" / f"sources-{FACTS}-{python_minor()}.json")  # each Python dumps its own tree
        self._session: Path | None = None
        self._session_lock: IO[str] | None = None

    def save_caches(self) -> None:
        """Keep what was hashed; a store that cannot be written to only costs the next run time."""
        with suppress(OSError):
            self.files.save()
            self.sources.save()

    # records and objects

    def record(self, key: str) -> dict[str, Any] | None:
        """How a key's artifact came to be, or None where it has none."""
        found = read_json(self.root / "records" / f"{key}.json")
        return found if isinstance(found, dict) else None

    def object(self, digest: str) -> Path:
        """The folder of an artifact."""
        return self.root / "objects" / digest

    def fault(self, digest: str, contents: bool = False) -> str | None:
        """What is wrong with a stored artifact (by sizes and times, or by contents); None where it is whole."""
        return sealed.fault(self.object(digest), contents)

    def quarantine(self, digest: str) -> None:
        """Set a damaged object aside, so that nothing reads it again."""
        sealed.set_aside(self.object(digest), self.root / "quarantine")

    def add_object(self, draft: Path) -> str:
        """Move a finished folder in; its digest. An object with the same content that is whole is kept instead."""
        held = sealed.seal(draft)
        digest = sealed.content_digest(held)
        with locked(self.root / "objects.lock"):
            if self.fault(digest) is None:
                self.discard(draft)
            else:
                self.quarantine(digest)
                sealed.publish(draft, self.object(digest), held)
        return digest

    def publish(self, key: str, record: Mapping[str, Any]) -> None:
        """Make a key known. From here on it is a hit."""
        write_json(self.root / "records" / f"{key}.json", record)
        self.discard(self.root / "scratch" / key)

    # folders for a stage that runs

    def draft(self) -> Path:
        """An empty folder on the store's file system for a stage's output; it outlives this process only until a sweep."""
        if self._session is None:
            self.sweep()
            self._session = self.root / "staging" / secrets.token_hex(8)
            self._session.mkdir(parents=True)
            self._session_lock = try_lock(self._session.with_suffix(".lock"))
        return draft_folder(self._session)

    def scratch(self, key: str) -> Path:
        """A folder that survives a crash of this key."""
        path = self.root / "scratch" / key
        path.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, run: str, instance: str) -> Path:
        """Where a stage's own output goes."""
        path = self.root / "logs" / run / f"{instance.replace('/', '_')}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @staticmethod
    def discard(folder: Path) -> None:
        """Remove a folder, also one whose files are read-only."""
        shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove the drafts of processes that are gone: those whose lock can be had."""
        for path in (self.root / "staging").glob("*.lock"):
            lock = try_lock(path)
            if lock is not None:
                self.discard(path.with_suffix(""))
                path.unlink(missing_ok=True)
                lock.close()

    def close(self) -> None:
        """Remove this process's drafts and let go of their lock."""
        self.save_caches()
        if self._session is not None and self._session_lock is not None:
            self.discard(self._session)
            self._session.with_suffix(".lock").unlink(missing_ok=True)
            self._session_lock.close()
            self._session = None

    def claim(self, key: str) -> IO[str] | None:
        """The right to compute a key, held until the file returned is closed; None while another process has it."""
        return try_lock(self.root / "locks" / key)

    # what ran last, for explanations

    def head(self, pipeline: str) -> dict[str, dict[str, str]]:
        """Instance id -> {"key", "log"} of its last run in a pipeline of this name."""
        found = read_json(self.root / "heads" / f"{pipeline}.json")
        return found if isinstance(found, dict) else {}

    def set_head(self, pipeline: str, changes: Mapping[str, dict[str, str]]) -> None:
        """Remember what ran."""
        head = self.head(pipeline)
        merged = head | {id_: head.get(id_, {}) | change for id_, change in changes.items()}
        if merged != head:
            write_json(self.root / "heads" / f"{pipeline}.json", merged)


def now() -> str:
    """This moment, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_run_id() -> str:
    """A name for a run that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
