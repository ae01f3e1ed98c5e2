"""Which files of a folder are candidates for images. Nothing is opened here."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM_NAMES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information"}
IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2",
    ".ppm", ".pgm",
}  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A regular file that may be an image."""

    path: Path
    name: str  # relative to the searched folder, with "/", always printable as UTF-8

    @property
    def claims_image(self) -> bool:
        """Whether its suffix says that it is an image: then failing to read it is worth telling."""
        return self.path.suffix.lower() in IMAGE_SUFFIXES


@dataclass
class Found:
    """What lies below a folder, sorted by name."""

    candidates: list[Candidate] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    unusable: list[tuple[str, str]] = field(default_factory=list)  # name, reason
    ignored: int = 0  # hidden and system entries; a folder counts once


def find(folder: Path) -> Found:
    """Everything below `folder`, links followed, hidden and system entries left out at any depth.

    Pipes, sockets, devices and broken links are named with their reason and never opened.
    """
    found = Found()
    _walk(folder, "", found, frozenset())
    found.candidates.sort(key=lambda c: c.name)
    found.folders.sort()
    found.unusable.sort()
    return found


def _walk(folder: Path, prefix: str, found: Found, above: frozenset[tuple[int, int]]) -> None:
    info = folder.stat()
    identity = (info.st_dev, info.st_ino)
    if identity in above:
        found.unusable.append((prefix.rstrip("/"), "link to a folder above it"))
        return
    if prefix:
        found.folders.append(prefix.rstrip("/"))
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.startswith(".") or entry.name.lower() in SYSTEM_NAMES:
            found.ignored += 1
        else:
            _visit(Path(entry.path), prefix + printable(entry.name), found, above | {identity})


def _visit(path: Path, name: str, found: Found, above: frozenset[tuple[int, int]]) -> None:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            _walk(path, f"{name}/", found, above)
        elif stat.S_ISREG(mode):
            found.candidates.append(Candidate(path, name))
        else:
            found.unusable.append((name, "not a regular file"))
    except FileNotFoundError:
        found.unusable.append((name, "broken link"))
    except OSError as e:
        found.unusable.append((name, (e.strerror or "unreadable").lower()))


def printable(name: str) -> str:
    """A file name as UTF-8 text: bytes that are none, and control characters, are shown as escapes."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
