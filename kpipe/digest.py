"""Content digests: of values (type-tagged, length-framed), of files and of folders (remembered by size and time stamps)."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kpipe.files import read_json, write_json

RECENT_NS = 2_000_000_000  # FAT keeps time stamps to 2 s: what is younger may change again under the same stamp


def framed(value: Any) -> bytes:
    """Canonical bytes of a JSON-like value: every part carries its type and its length, so no two values collide."""
    if value is None or isinstance(value, bool):
        tag, body = b"b", repr(value).encode()
    elif isinstance(value, int):
        tag, body = b"i", str(value).encode()
    elif isinstance(value, float):
        tag, body = b"f", value.hex().encode()
    elif isinstance(value, str):
        tag, body = b"s", value.encode("utf-8", "surrogatepass")
    elif isinstance(value, Mapping):
        tag, body = b"d", b"".join(framed(k) + framed(value[k]) for k in sorted(value))
    elif isinstance(value, (list, tuple)):
        tag, body = b"l", b"".join(map(framed, value))
    else:
        raise TypeError(f"a {type(value).__name__} has no canonical digest")
    return tag + str(len(body)).encode() + b":" + body


def digest_value(value: Any) -> str:
    """SHA-256 of a JSON-like value, as 64 hexadecimal digits."""
    return hashlib.sha256(framed(value)).hexdigest()


def stamp(info: os.stat_result) -> list[int]:
    """What tells that a file was not touched: inode, size, time of change of content and of inode (ns)."""
    return [info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]


class StatCache:
    """Values computed from a file's content, remembered under the file's stamp; a stamp too young to trust is not."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._entries: dict[str, list[Any]] = (read_json(path) if path else None) or {}
        self._dirty = False

    def get(self, path: Path, info: os.stat_result) -> Any | None:
        """The value kept for the file in this very state, or None."""
        entry = self._entries.get(str(path))
        return entry[1] if entry and entry[0] == stamp(info) else None

    def put(self, path: Path, info: os.stat_result, value: Any) -> None:
        """Keep a value computed from the file while it had this state."""
        if max(info.st_mtime_ns, info.st_ctime_ns) < time.time_ns() - RECENT_NS:
            self._entries[str(path)] = [stamp(info), value]
            self._dirty = True

    def save(self) -> None:
        """Write the cache where it came from; losing it costs time only."""
        if self._dirty and self.path:
            write_json(self.path, self._entries)
            self._dirty = False


def digest_file(path: Path, cache: StatCache | None = None, algorithm: str = "sha256") -> str:
    """Digest of a file's content; read again until it did not change while being read."""
    while True:
        before = path.stat()
        known = cache.get(path, before) if cache else None
        if known:
            return str(known)
        with path.open("rb") as file:
            value = hashlib.file_digest(file, algorithm).hexdigest()
        if stamp(path.stat()) == stamp(before):
            if cache:
                cache.put(path, before, value)
            return value


def entries(folder: Path, seen: frozenset[tuple[int, int]] = frozenset()) -> Iterator[tuple[Path, str]]:
    """Every path below a folder with its kind: file, folder, special (never opened), broken, unreadable, loop."""
    here = folder.stat()
    seen |= {(here.st_dev, here.st_ino)}
    try:
        inside = sorted(os.scandir(folder), key=lambda e: e.name)
    except PermissionError:
        yield folder, "unreadable"
        return
    for entry in inside:
        path = folder / entry.name
        try:
            info = entry.stat()
        except OSError:
            yield path, "broken"
            continue
        if stat.S_ISDIR(info.st_mode):
            if (info.st_dev, info.st_ino) in seen:
                yield path, "loop"
                continue
            yield path, "folder"
            yield from entries(path, seen)
        elif stat.S_ISREG(info.st_mode):
            yield path, "file" if os.access(path, os.R_OK) else "unreadable"
        else:
            yield path, "special"


def digest_folder(folder: Path, cache: StatCache | None = None) -> str:
    """Digest of a folder: names (relative), kinds and file contents; links count as what they point to."""
    found = list(entries(folder))
    files = [path for path, kind in found if kind == "file"]
    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter lock
        digests = dict(zip(files, pool.map(lambda p: digest_file(p, cache), files), strict=True))
    rows = [[str(p.relative_to(folder)), kind, digests.get(p, "")] for p, kind in found]
    return digest_value(rows)


def digest_path(path: Path, cache: StatCache | None = None) -> str:
    """Digest of a file or a folder, whichever stands there."""
    return digest_folder(path, cache) if path.is_dir() else digest_file(path, cache)
