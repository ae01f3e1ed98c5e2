"""Content digests: of values (type-tagged, length-framed) and of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kpipe.statcache import Stamp, StatCache, stamp

SMALL = 1 << 17  # bytes of a file that is read in one go


def framed(value: Any) -> bytes:
    """Canonical bytes of a JSON-like value: every part carries its type and its length, so no two values collide."""
    if isinstance(value, str):
        tag, body = b"s", value.encode("utf-8", "surrogatepass")
    elif isinstance(value, (dict, Mapping)):
        tag, body = b"d", b"".join([part for k in sorted(value) for part in (framed(k), framed(value[k]))])
    elif isinstance(value, (list, tuple)):
        tag, body = b"l", b"".join([framed(part) for part in value])
    elif value is None or isinstance(value, bool):
        tag, body = b"b", repr(value).encode()
    elif isinstance(value, int):
        tag, body = b"i", str(value).encode()
    elif isinstance(value, float):
        tag, body = b"f", value.hex().encode()
    else:
        raise TypeError(f"a {type(value).__name__} has no canonical digest")
    return b"%b%d:%b" % (tag, len(body), body)


def digest_value(value: Any) -> str:
    """SHA-256 of a JSON-like value, as 64 hexadecimal digits."""
    return hashlib.sha256(framed(value)).hexdigest()


def digest_file(path: Path, cache: StatCache | None = None, algorithm: str = "sha256") -> str:
    """Digest of a file's content."""
    name = f"{algorithm}:{path}"
    known = cache.get(name, stamp(path.stat())) if cache else None
    if known:
        return str(known)
    value, state = hashed(str(path), algorithm)
    if cache:
        cache.put(name, state, value)
    return value


def hashed(path: str, algorithm: str = "sha256") -> tuple[str, Stamp]:
    """Digest of a file's content and the state it had all the while; read again until it did not change meanwhile."""
    with open(path, "rb", buffering=0) as file:
        while True:
            before = stamp(os.fstat(file.fileno()))
            file.seek(0)
            content = hashlib.new(algorithm, file.read()) if before[1] <= SMALL else hashlib.file_digest(file, algorithm)
            if stamp(os.fstat(file.fileno())) == before:
                return content.hexdigest(), before
