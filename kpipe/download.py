"""Downloads: bounded, several files at once, tried again, each whole or not there."""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

from kpipe.copies import DRAFTS, content, kept, key, linked, refuse_broken_pin, whole
from kpipe.digest import digest_value
from kpipe.errors import RemoteError, several
from kpipe.filesystem import WAITS, FileSystem, explained, passing
from kpipe.listing import AT_ONCE
from kpipe.remote import Entry, Seen
from kpipe.sources import Source
from kpipe.units import size_text
from kpipe.urls import Url

MOST_BYTES = 500 * 10**9
SMALL = 4 << 20  # bytes of a file that is read in one go
PIECE = 1 << 20
QUIET_S = 0.2  # between two words on how far it is
Told = Callable[[float, float], None]  # bytes done, bytes in all


class Fetched(NamedTuple):
    """What lay behind a URL, and is here now."""

    path: Path
    measures: dict[str, Any]  # bytes that were downloaded for it, and a SHA-256 of all of it
    notices: list[str]


def fetch(source: Source, identity: str, store: Path, into: Path, told: Told) -> Fetched:
    """What lies behind a URL as a file or folder below `into`.

    RemoteError where it is not what `identity` says, does not fit on the disk, or cannot be read.
    """
    url, seen = source.url, source.seen(store / "cache")
    if identity.startswith("remote:") and seen.digest(url) != identity:
        raise RemoteError(f"{url.shown} has changed since the run began", hint="run again when no one writes there")
    with kept(store, url) as folder:
        refuse_broken_pin(folder, url, seen)
        copies = whole(folder, {key(url, entry) for entry in seen.entries})
        missing = [entry for entry in seen.entries if key(url, entry) not in copies]
        size = sum(entry.size or 0 for entry in missing)
        if missing and source.offline:
            raise RemoteError(f"{url.shown} is not in the store, and cannot be read offline", hint="run without --offline")
        if missing:
            refuse_large(url, size, folder)
            copies |= Download(FileSystem(url), folder, size, told).all(missing)
        place = linked(url, seen, copies, into)
    contents = {entry.tail: content(copies[key(url, entry)]) for entry in seen.entries}
    digest = contents[""] if seen.kind == "file" else digest_value(contents)
    if url.sha256 not in ("", digest):
        raise RemoteError(f"{url.shown}: what is there has the SHA-256 {digest}", hint="mend the pin, or the address")
    return Fetched(place, {"downloaded_bytes": size, "sha256": digest}, list(notices(url, seen)))


def notices(url: Url, seen: Seen) -> Iterator[str]:
    """What a person must know of what was downloaded."""
    if url.revision:
        yield f"{url.shown}: that this is revision {url.revision} is taken for granted, and not looked at again"
    if seen.special:
        yield f"{url.shown}: left out, because they are no files: {several(seen.special)}"


def refuse_large(url: Url, size: int, folder: Path) -> None:
    """RemoteError where so many bytes are more than any data set has, or than the disk has room for."""
    free = shutil.disk_usage(folder).free
    if size > MOST_BYTES:
        raise RemoteError(
            f"{url.shown} has {size_text(size)}; at most {size_text(MOST_BYTES)} are read", hint="name a part of it"
        )
    if size > free:
        raise RemoteError(
            f"{url.shown}: {size_text(size)} are to be downloaded, and {size_text(free)} are free",
            hint="free some space, or let KPIPE_STORE name a folder on a larger disk",
        )


class Download:
    """Files on their way here, several at once; each appears under its name when all of it is there."""

    def __init__(self, fs: FileSystem, folder: Path, size: int, told: Told) -> None:
        self.fs = fs
        self.folder = folder
        self.size = size
        self.told = told
        self._done = 0
        self._spoke = 0.0
        self._lock = threading.Lock()

    def all(self, entries: Sequence[Entry]) -> dict[str, Path]:
        """The copies by their keys."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                paths = list(pool.map(self.one, entries))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return {key(self.fs.url, entry): path for entry, path in zip(entries, paths, strict=True)}

    def one(self, entry: Entry) -> Path:
        """A file's copy."""
        name = key(self.fs.url, entry)
        draft = self.folder / DRAFTS / name
        with draft.open("w+b") as file:
            self.read(entry, file)
            file.flush()
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        draft.chmod(0o444)
        return draft.rename(self.folder / f"{name}.{digest}")

    def read(self, entry: Entry, file: IO[bytes]) -> None:
        """Write a file's content; what fails and may pass goes on where it stopped."""
        for wait in (*WAITS, None):
            try:
                self.attempt(entry, file)
                if entry.size in (None, file.tell()):
                    return
            except RemoteError:
                raise
            except Exception as e:  # each file system has errors of its own
                in_the_middle = isinstance(e, ValueError) and file.tell() > 0
                if not in_the_middle and (wait is None or not passing(e)):
                    raise explained(e, self.fs.url) from None
                if not in_the_middle:
                    time.sleep(wait or 0)
                    continue
            file.seek(0)  # it came short, or the server gives files from their beginning alone
            file.truncate()
        name = entry.name(self.fs.url) or "the file"
        raise RemoteError(f"{self.fs.url.shown}: {name} did not come whole", hint="run again: the files that came whole are kept")

    def attempt(self, entry: Entry, file: IO[bytes]) -> None:
        """Read on from where the file ends."""
        small = entry.size is not None and entry.size <= SMALL and not file.tell()
        for piece in [self.fs.content(entry.tail)] if small else self.fs.pieces(entry.tail, file.tell(), PIECE):
            file.write(piece)
            if file.tell() > (MOST_BYTES if entry.size is None else entry.size):
                raise RemoteError(f"{self.fs.url.shown}: {entry.name(self.fs.url) or 'the file'} is longer than was said")
            self.count(len(piece))

    def count(self, size: int) -> None:
        """Tell how far all files are."""
        with self._lock:
            self._done += size
            if time.monotonic() - self._spoke > QUIET_S:
                self._spoke = time.monotonic()
                self.told(self._done, max(self.size, self._done))
