"""What a stored folder holds: sizes, times and digests of its files, and whether it still holds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kpipe.digest import digest_file, digest_value
from kpipe.files import empty_folders, walk

Manifest = Mapping[str, Any]  # file -> [bytes, time of change in ns, SHA-256]; an empty folder's name ends with /


def describe(folder: Path) -> dict[str, Any]:
    """The manifest of a folder as it is now."""
    found: dict[str, Any] = {p.relative_to(folder).as_posix() + "/": [0, 0, ""] for p in empty_folders(folder)}
    for path in walk(folder):
        info = path.stat()
        found[path.relative_to(folder).as_posix()] = [info.st_size, info.st_mtime_ns, digest_file(path)]
    return found


def content_digest(manifest: Manifest) -> str:
    """Digest of names and contents; times do not count."""
    return digest_value({name: [size, content] for name, (size, _, content) in manifest.items()})


def fault(folder: Path, manifest: Any, contents: bool) -> str | None:
    """What is wrong with a stored folder (by sizes and times, or by contents); None where it is whole."""
    if not isinstance(manifest, dict):
        return "its manifest is missing"
    for name, (size, mtime, content) in manifest.items():
        path = folder / name
        if name.endswith("/"):
            if not path.is_dir():
                return f"the empty folder {name} is missing"
            continue
        try:
            info = path.stat()
        except OSError:
            return f"{name} is missing"
        if info.st_size != size:
            return f"{name} has {info.st_size} bytes instead of {size}"
        if (contents or info.st_mtime_ns != mtime) and digest_file(path) != content:
            return f"{name} has other content than was stored"
    return None
