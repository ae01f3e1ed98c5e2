"""Digest of a whole folder. One that nobody touched costs a look at each file; of one that somebody did, only that is read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kpipe.digest import SMALL, digest_file, hashed
from kpipe.files import replacing
from kpipe.statcache import Stamp, StatCache, settled
from kpipe.walk import Entry, entries

AHEAD = 1024  # entries that wait for one before them
NOTHING = ("", "", "")


def look(folder: str) -> str:
    """Digest of what can be seen of a folder without reading a file."""
    seen = hashlib.sha256()
    for entry in entries(folder):
        seen.update(entry.seen)
    return seen.hexdigest()


@dataclass(frozen=True)
class Memory:
    """What is remembered of a folder: a first line (look, digest), and a line for each file (state, digest, name)."""

    path: Path | None
    drafts: Callable[[], Path | None]

    def digest(self, folder: str) -> str | None:
        """The folder's digest, if it still looks as it did."""
        try:
            with open(self.path or os.devnull, encoding="utf-8", errors="replace") as file:
                looked, _, digest = file.readline().rstrip("\n").partition(" ")
        except FileNotFoundError:
            return None
        return digest if looked and looked == look(folder) else None

    def files(self) -> Iterator[tuple[str, str, str]]:
        """Name, state and digest of each file, as text, in the order of `entries`; what follows a damaged line is forgotten."""
        with suppress(FileNotFoundError, ValueError), open(self.path or os.devnull, encoding="utf-8", errors="replace") as file:
            next(file, None)
            for line in file:
                state, digest, name = line.rstrip("\n").split(" ", 2)
                yield json.loads(name), state, digest

    def _draft(self) -> AbstractContextManager[IO[str]]:
        """Where the memory is written; where it cannot be kept the next look only takes longer."""
        if self.path:
            with suppress(OSError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                return replacing(self.path, self.drafts())
        return open(os.devnull, "w", encoding="utf-8")

    def write(self, found: Iterable[Entry]) -> str:
        """Remember the entries as they pass; the folder's digest. What is too young to trust is left out."""
        seen, meant, believed = hashlib.sha256(), hashlib.sha256(), True
        with self._draft() as file:
            file.write(f"{'-' * 64} {'-' * 64}\n")
            for entry in found:
                seen.update(entry.seen)
                meant.update(entry.meant)
                if entry.kind == "file" and not settled(entry.state):
                    believed = False
                elif entry.kind == "file":
                    file.write(f"{as_text(entry.state)} {entry.digest} {json.dumps(entry.name)}\n")
            if believed:
                file.seek(0)
                file.write(f"{seen.hexdigest()} {meant.hexdigest()}\n")
        return meant.hexdigest()


def as_text(state: Stamp) -> str:
    """A stamp in a line of the memory."""
    return ":".join(map(str, state))


def digest_folder(folder: Path, cache: StatCache | None = None) -> str:
    """Digest of a folder: names (relative), kinds and file contents; time stamps do not count."""
    root = str(folder)
    kept = cache.folders / hashlib.sha256(os.fsencode(folder.absolute())).hexdigest() if cache and cache.folders else None
    memory = Memory(kept, cache.drafts if cache else lambda: None)
    try:
        return memory.digest(root) or memory.write(hash_files(root, memory.files()))
    except OSError as e:
        if e.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return Memory(None, memory.drafts).write(hash_files(root, ()))  # no room to remember it in


def hash_files(root: str, known: Iterable[tuple[str, str, str]]) -> Iterator[Entry]:
    """Every entry with its file's digest, in order; files that are not known in their state are read, large ones on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing much at once releases the interpreter lock
        waiting: deque[Entry | Future[Entry]] = deque()
        for entry in believing(entries(root), known):
            if entry.kind != "file" or entry.digest:
                waiting.append(entry)
            elif entry.state[1] <= SMALL:
                waiting.append(with_digest(root, entry))
            else:
                waiting.append(pool.submit(with_digest, root, entry))
            while waiting and (len(waiting) > AHEAD or not isinstance(waiting[0], Future) or waiting[0].done()):
                yield result(waiting.popleft())
        yield from map(result, waiting)


def believing(found: Iterable[Entry], known: Iterable[tuple[str, str, str]]) -> Iterator[Entry]:
    """The entries, with the digest of each file that is still in the state in which it is known. One pass: both are in order."""
    remembered = iter(known)
    name, state, digest = next(remembered, NOTHING)
    for entry in found:
        while name and name != entry.name and name.split("/") < entry.name.split("/"):
            name, state, digest = next(remembered, NOTHING)
        same = name == entry.name and state == as_text(entry.state)
        yield Entry(entry.name, entry.kind, entry.state, digest) if same else entry


def with_digest(root: str, entry: Entry) -> Entry:
    """A file's entry with the digest of its content."""
    try:
        digest, now = hashed(f"{root}/{entry.name}")
    except PermissionError:
        return Entry(entry.name, "unreadable")
    return Entry(entry.name, "file", now, digest)


def result(entry: Entry | Future[Entry]) -> Entry:
    """An entry that is there, or that a thread makes."""
    return entry.result() if isinstance(entry, Future) else entry


def digest_path(path: Path, cache: StatCache | None = None) -> str:
    """Digest of a file or a folder, whichever stands there."""
    return digest_folder(path, cache) if path.is_dir() else digest_file(path, cache)
