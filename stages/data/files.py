"""Which files of a folder are candidates for images. Nothing is opened here."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from kpipe.stage import StageError

Identity = tuple[int, int]  # device and inode
ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

SYSTEM_NAMES = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information", "lost+found",
    "@eadir", "#recycle",  # of Synology's network storage, which puts small copies of all pictures there
}  # fmt: skip
IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2",
    ".ppm", ".pgm", ".pnm", ".pbm", ".jxl", ".psd", ".heics", ".j2k", ".jpx",
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

    def without(self, folders: Collection[str]) -> Found:
        """The same without what lies in these folders right below."""

        def stays(name: str) -> bool:
            return name.partition("/")[0] not in folders

        return Found(
            [candidate for candidate in self.candidates if stays(candidate.name)],
            [name for name in self.folders if stays(name)],
            [(name, reason) for name, reason in self.unusable if stays(name)],
            self.ignored,
        )


def find(folder: Path) -> Found:
    """Everything below `folder`, links followed, hidden and system entries left out at any depth.

    Pipes, sockets, devices and broken links are named with their reason and never opened.
    """
    found = Found()
    waiting, linked = [Place(folder, "", frozenset())], set[Identity]()
    while waiting:
        waiting += _walk(waiting.pop(), found, linked)
    found.candidates.sort(key=lambda c: c.name)
    found.folders.sort()
    found.unusable.sort()
    return found


class Place(NamedTuple):
    """A folder that is still to be searched."""

    path: Path
    prefix: str  # its name and "/"; empty for the searched folder itself
    above: frozenset[Identity]  # the folders it lies in
    linked: bool = False  # a link led here, or to a folder above


def _walk(place: Place, found: Found, linked: set[Identity]) -> list[Place]:
    """Note what lies in a folder; the folders in it. `linked` collects the folders that links inside linked folders led to."""
    name = place.prefix.rstrip("/")
    try:
        info = place.path.stat()
        entries = list(os.scandir(place.path))
    except OSError as e:
        if not place.prefix:
            raise StageError(f"{place.path.name}: {(e.strerror or 'unreadable').lower()}", hint="make it readable") from None
        found.unusable.append((name, (e.strerror or "unreadable").lower()))
        return []
    if place.prefix:
        found.folders.append(name)
    above = place.above | {(info.st_dev, info.st_ino)}
    inside = []
    for entry in sorted(entries, key=lambda e: e.name):
        if hidden(entry.name):
            found.ignored += 1
        elif below := _visit(entry, place, above, found, linked):
            inside.append(below)
    return inside


def _visit(
    entry: os.DirEntry[str], place: Place, above: frozenset[Identity], found: Found, linked: set[Identity]
) -> Place | None:
    """Note one entry of a folder; where it is a folder itself, the place to search."""
    path, name = Path(entry.path), place.prefix + printable(entry.name)
    try:
        info = path.stat()
    except FileNotFoundError:
        found.unusable.append((name, "broken link"))
        return None
    except OSError as e:
        found.unusable.append((name, (e.strerror or "unreadable").lower()))
        return None
    if stat.S_ISREG(info.st_mode):
        found.candidates.append(Candidate(path, name))
        return None
    if not stat.S_ISDIR(info.st_mode):
        found.unusable.append((name, "not a regular file"))
        return None
    identity, link = (info.st_dev, info.st_ino), entry.is_symlink()
    if identity in above:
        found.unusable.append((name, "link to a folder above it"))
        return None
    if link and place.linked and identity in linked:  # folders that link to each other have more paths than can be walked
        found.unusable.append((name, "link to a folder that another link led to"))
        return None
    if link:
        linked.add(identity)
    return Place(path, f"{name}/", above, place.linked or link)


def hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or one that a system puts beside people's own."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def printable(name: str) -> str:
    """A file name as UTF-8 text, different for different names: control characters and bytes that are no UTF-8 as escapes.

    Bytes are \\xff, characters \\u00ff, and a backslash is doubled, so that no name looks like another one's escapes.
    """
    text = os.fsencode(name).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else ESCAPES.get(c) or _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
