"""Copies of what lies behind a URL, kept in the store: one for each content of a file, checked before each use."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from kpipe.digest import digest_file, digest_value
from kpipe.errors import RemoteError
from kpipe.files import locked
from kpipe.remote import Entry, Seen
from kpipe.urls import Url

DRAFTS, SEEN = "drafts", "seen"  # beside the copies: what is on its way, and what a pinned revision was
NO_NAME = (errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ)


@contextmanager
def kept(store: Path, url: Url) -> Iterator[Path]:
    """The folder of a URL's copies, held alone; gc treats it as a memo."""
    folder = store / "memo" / "remote" / digest_value([url.place, url.sha256, url.revision])
    with locked(folder / "lock"):
        shutil.rmtree(folder / DRAFTS, ignore_errors=True)
        (folder / DRAFTS).mkdir()  # which also sets the folder's time of last use
        yield folder


def refuse_broken_pin(folder: Path, url: Url, seen: Seen) -> None:
    """RemoteError where a revision is no longer what it was when it was first downloaded."""
    note, now = folder / SEEN, seen.digest(url)
    if not url.revision:
        return
    if note.exists() and note.read_text() != now:
        raise RemoteError(
            f"{url.shown} has changed since it was first downloaded under this name", hint="give the revision another name"
        )
    note.write_text(now)


def key(url: Url, entry: Entry) -> str:
    """The beginning of a copy's name: which file it is, in which state; its content's SHA-256 follows."""
    return digest_value([entry.tail, entry.size, [list(mark) for mark in entry.marks]])[:32]


def content(copy: Path) -> str:
    """SHA-256 that a copy was stored with."""
    return copy.name.rpartition(".")[2]


def whole(folder: Path, wanted: set[str]) -> dict[str, Path]:
    """The copies that are wanted and have the content that they were stored with; others are removed."""
    copies = {name.partition(".")[0]: folder / name for name in os.listdir(folder) if "." in name}

    def check(name: str) -> bool:
        good = name in wanted and digest_file(copies[name]) == content(copies[name])
        if not good:
            copies[name].unlink()
        return good

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing releases the interpreter lock
        return {name: copies[name] for name, good in zip(copies, pool.map(check, copies), strict=True) if good}


def linked(url: Url, seen: Seen, copies: Mapping[str, Path], into: Path) -> Path:
    """The copies under their own names below `into`, as hard links; RemoteError where a name cannot be one here."""
    place = url.below(into)
    try:
        (place if seen.kind == "folder" else place.parent).mkdir(parents=True, exist_ok=True)
        for entry in seen.entries:
            path = place / entry.name(url) if entry.tail else place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # of another parameter, whose folder holds this one
            os.link(copies[key(url, entry)], path)
    except OSError as e:
        if e.errno not in NO_NAME:
            raise
        name = os.path.basename(os.fsdecode(e.filename2 or e.filename or ""))
        raise RemoteError(f"{url.shown}: {name!r} cannot be the name of a file here: {e.strerror}", hint="rename it") from None
    return place
