"""The content-addressed store: objects (artifacts by content), records (key -> object), the code behind them, logs, scratch."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from kpipe import sealed
from kpipe.digest import digest_value
from kpipe.errors import StoreError
from kpipe.files import locked, read_json, sharing, try_lock, write_json
from kpipe.identity import python_minor
from kpipe.session import Session
from kpipe.source import FACTS
from kpipe.statcache import StatCache

PLAIN = re.compile(r"[a-z0-9_.,=[\]-]{1,100}")  # small letters alone: some file systems take A for a
UNUSUAL = re.compile(r"[^A-Za-z0-9_.,=[\]-]")


class Store:
    """A folder on one file system. Objects never change; a record is published last, so what it names is whole.

    With `believe` false no time stamp is believed: inputs, source files and objects are checked by their contents.
    """

    def __init__(self, root: Path, believe: bool = True) -> None:
        self.root = root
        self.believe = believe
        try:
            (root / "objects").mkdir(parents=True, exist_ok=True)
            (root / "records").mkdir(exist_ok=True)
        except OSError as e:
            raise StoreError(
                f"the store {root} cannot be written: {e.strerror}", hint="KPIPE_STORE names another folder"
            ) from None
        self.session = Session(root)
        sources = root / "cache" / f"sources-{FACTS}-{python_minor()}.json"  # each Python dumps its own tree
        self.files = StatCache(root / "cache" / "files.json" if believe else None, self.session.drafts)
        self.sources = StatCache(sources if believe else None, self.session.drafts)

    def save_caches(self) -> None:
        """Keep what was hashed; a store that cannot be written to only costs the next run time."""
        with suppress(OSError):
            self.files.save()
            self.sources.save()

    # records and objects

    def record(self, key: str) -> dict[str, Any] | None:
        """How a key's artifact came to be; None where it has none, or a record that is not what was written."""
        found = read_json(self.record_path(key))
        whole = isinstance(found, dict) and found.pop("checksum", None) == checksum(found) and found["key_digest"] == key
        return found if whole else None

    def record_path(self, key: str) -> Path:
        """Where a key's record stands."""
        return self.root / "records" / f"{key}.json"

    def key_of(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record's key with the code closure behind its digest."""
        code = record["key"]["code"]
        found = read_json(self.root / "code" / f"{code}.json") if isinstance(code, str) else code
        return {**record["key"], "code": found or {}}

    def object(self, digest: str) -> Path:
        """The folder of an artifact."""
        return self.root / "objects" / digest

    def fault(self, digest: str, contents: bool = False) -> str | None:
        """What is wrong with a stored artifact (by sizes and times, or by contents); None where it is whole."""
        return sealed.fault(self.object(digest), contents or not self.believe)

    def put_right(self, digest: str) -> tuple[str | None, bool]:
        """Set aside what does not belong into an object, or an object that is damaged; what was wrong; whether it is whole."""
        with locked(self.root / "objects.lock"):
            fault = sealed.put_right(self.object(digest), self.root / "quarantine")
            return fault, self.object(digest).is_dir()

    def add_object(self, draft: Path) -> str:
        """Move a finished folder in; its digest. An object with the same content that is whole is kept instead."""
        held = sealed.seal(draft)
        digest = sealed.content_digest(held)
        with locked(self.root / "objects.lock"):
            if self.fault(digest) is None:
                self.discard(draft)
            else:
                sealed.set_aside(self.object(digest), self.root / "quarantine")
                sealed.publish(draft, self.object(digest), held, self.session.drafts())
        return digest

    def publish(self, key: str, record: Mapping[str, Any], code: Mapping[str, Any]) -> None:
        """Make a key known. From here on it is a hit."""
        closure = self.root / "code" / f"{digest_value(code)}.json"
        if not closure.exists():
            write_json(closure, code, self.session.drafts())
        write_json(self.record_path(key), {**record, "checksum": checksum(record)}, self.session.drafts())
        self.discard(self.root / "scratch" / key)

    # use by this process

    @contextmanager
    def using(self) -> Iterator[None]:
        """Look artifacts up and hold them in one go: no gc of another process comes between."""
        with ExitStack() as stack:
            with suppress(OSError):  # a store that cannot be written to has no gc either
                stack.enter_context(sharing(self.root / "use.lock"))
            yield

    def hold(self, digests: Iterable[str]) -> None:
        """Use artifacts until this process ends."""
        with suppress(OSError):
            self.session.hold(digests)

    def claim(self, key: str) -> IO[str] | None:
        """The right to compute a key, held until the file returned is closed; None while another process has it."""
        return try_lock(self.root / "locks" / key)

    def scratch(self, key: str) -> Path:
        """A folder that survives a crash of this key."""
        path = self.root / "scratch" / key
        path.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, run: str, instance: str) -> Path:
        """Where a stage's own output goes."""
        path = self.root / "logs" / run / f"{file_name(instance)}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # here, where what is wrong with the disk can be told
        return path

    @staticmethod
    def discard(folder: Path) -> None:
        """Remove a folder, also one whose files are read-only."""
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Keep what was hashed, remove this process's drafts, let go of what it held."""
        self.save_caches()
        self.session.close()

    # what ran last, for explanations

    def head(self, pipeline: str) -> dict[str, dict[str, str]]:
        """Instance id -> {"key", "log"} of its last run in a pipeline of this name."""
        found = read_json(self.root / "heads" / f"{pipeline}.json")
        return found if isinstance(found, dict) else {}

    def set_head(self, pipeline: str, changes: Mapping[str, dict[str, str]]) -> None:
        """Remember what ran."""
        with locked(self.root / "heads.lock"):
            head = self.head(pipeline)
            merged = head | {id_: head.get(id_, {}) | change for id_, change in changes.items()}
            if merged != head:
                write_json(self.root / "heads" / f"{pipeline}.json", merged, self.session.drafts())


def file_name(instance: str) -> str:
    """A name for an instance's files: short enough for any file system, no two that one would take for the same."""
    if PLAIN.fullmatch(instance):
        return instance
    return f"{UNUSUAL.sub('_', instance)[:80]}-{digest_value(instance)[:12]}"


def checksum(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record's JSON."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def now() -> str:
    """This moment, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_run_id() -> str:
    """A name for a run that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
