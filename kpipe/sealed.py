"""Folders that are committed whole: sealed, moved to their place, their manifest published last, checked when used."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kpipe.digest import digest_file, digest_value
from kpipe.files import empty_folders, fsync, fsync_tree, move_aside, own, protect, read_json, walk, write_json

Manifest = Mapping[str, Any]  # file -> [bytes, time of change in ns, SHA-256]; an empty folder's name ends with /


def special(draft: Path) -> str | None:
    """The first name below a folder that is neither a file nor a folder; a link's target is no part of it."""
    found = (path for path in sorted(draft.rglob("*")) if path.is_symlink() or not (path.is_file() or path.is_dir()))
    return next((path.relative_to(draft).as_posix() for path in found), None)


def seal(draft: Path) -> Manifest:
    """Make a finished folder of files read-only and durable; what it holds."""
    own(draft)
    protect(draft)
    fsync_tree(draft)
    held: dict[str, Any] = {p.relative_to(draft).as_posix() + "/": [0, 0, ""] for p in empty_folders(draft)}
    for path in walk(draft):
        info = path.stat()
        held[path.relative_to(draft).as_posix()] = [info.st_size, info.st_mtime_ns, digest_file(path)]
    return held


def content_digest(held: Manifest) -> str:
    """Digest of names and contents; times do not count."""
    return digest_value({name: [size, content] for name, (size, _, content) in held.items()})


def publish(draft: Path, place: Path, held: Manifest, drafts: Path) -> None:
    """Move a sealed folder to its place; it counts from the moment that its manifest, written in `drafts`, is beside it."""
    draft.rename(place)
    fsync(place.parent)
    write_json(place.with_suffix(".json"), held, drafts)


def set_aside(place: Path, quarantine: Path) -> None:
    """Take a damaged folder out of use; its content is kept for whoever wants to look."""
    place.with_suffix(".json").unlink(missing_ok=True)
    move_aside(place, quarantine)


def put_right(place: Path, quarantine: Path) -> str | None:
    """Set aside what does not belong into a published folder, and the folder where it is not whole; what was wrong."""
    found = fault(place, contents=True)
    held = read_json(place.with_suffix(".json"))
    for name in list(strangers(place, held)) if found and isinstance(held, dict) and place.is_dir() else ():
        move_aside(place / name, quarantine)
    if found and fault(place, contents=True):
        set_aside(place, quarantine)
    return found


def strangers(place: Path, held: Manifest) -> Iterator[str]:
    """What lies in a published folder and was not stored with it, in no order; of a folder only its own name."""
    known = {name.rstrip("/") for name in held}
    folders = {""}
    for name in known:
        while (name := name.rpartition("/")[0]) not in folders:
            folders.add(name)
    todo = [""]
    while todo:
        prefix = todo.pop()
        with os.scandir(place / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                folder = entry.is_dir(follow_symlinks=False)
                if folder and (name in folders or f"{name}/" in held):
                    todo.append(f"{name}/")
                elif folder or name not in held:
                    yield name


def fault(place: Path, contents: bool = False) -> str | None:
    """What is wrong with a published folder (by sizes and times, or by contents); None where it is whole."""
    held = read_json(place.with_suffix(".json"))
    if not place.is_dir():
        return "it is missing"
    if not isinstance(held, dict):
        return "its manifest is missing"
    for name, (size, mtime, content) in held.items():
        path = place / name
        if name.endswith("/"):
            if not path.is_dir():
                return f"the empty folder {name} is missing"
            continue
        try:
            info = path.stat()
        except OSError:
            return f"{name} is missing"
        if info.st_size != size:
            return f"{name} has {info.st_size} instead of {size} bytes"
        if (contents or info.st_mtime_ns != mtime) and digest_file(path) != content:
            return f"{name} has other content than was stored"
    stranger = min(strangers(place, held), default=None)
    return None if stranger is None else f"it holds {stranger}, which was not stored with it"
