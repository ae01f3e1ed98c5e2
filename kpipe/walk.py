"""Every path below a folder, in one order, with what a look at it gives."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from kpipe.statcache import Stamp, stamp

Identity = tuple[int, int]  # device and inode
NO_STAMP: Stamp = (0, 0, 0, 0)
TOO_DEEP = "lies too deep: its path is longer than this system allows; move it up, or shorten the names of folders"
SHOWN = 200  # characters of a path that is too long


class Entry(NamedTuple):
    """One path below a folder."""

    name: str  # relative
    kind: str  # file, folder, special (never opened), broken, loop, again (and which folder), unreadable
    state: Stamp = NO_STAMP  # of a file
    digest: str = ""  # of a file's content

    @property
    def seen(self) -> bytes:
        """What a look at the entry gives."""
        return f"{len(self.name)} {self.name} {self.kind} {self.state}\n".encode("utf-8", "surrogatepass")

    @property
    def meant(self) -> bytes:
        """What of the entry counts."""
        return f"{len(self.name)} {self.name} {self.kind} {self.digest}\n".encode("utf-8", "surrogatepass")


class Place(NamedTuple):
    """A folder that is being walked."""

    path: str
    prefix: str  # its relative name and "/"; empty for the top
    above: frozenset[Identity]  # itself and the folders it lies in
    linked: bool  # a link led here, or to a folder above


def entries(folder: str) -> Iterator[Entry]:
    """Every path below a folder, each folder's sorted, a folder before what is in it; links count as what they point to.

    OSError (ENAMETOOLONG) names the folder that lies too deep for a path. Of folders that link to each other, which have more
    paths than can be walked, each is walked once; where a link leads there again, the entry says which one it is.
    """
    first: dict[Identity, str] = {}  # folders that links led to -> the name under which they were found
    inside: list[Iterator[Entry | Place]] = [look_into(Place(folder, "", frozenset({identity(os.stat(folder))}), False), first)]
    while inside:
        found = next(inside[-1], None)
        if found is None:
            inside.pop()
        elif isinstance(found, Place):
            inside.append(look_into(found, first))
        else:
            yield found


def look_into(place: Place, first: dict[Identity, str]) -> Iterator[Entry | Place]:
    """The entries of one folder; after that of a folder to be walked, its place."""
    try:
        names = sorted(os.listdir(place.path))  # names alone: there may be very many, and what a scan yields keeps its stat
    except PermissionError:
        yield Entry(place.prefix, "unreadable")
        return
    for own in names:
        name, path = place.prefix + own, f"{place.path}/{own}"
        try:
            info = os.stat(path)
        except OSError as e:
            if e.errno == errno.ENAMETOOLONG and not os.path.islink(path):
                raise OSError(e.errno, TOO_DEEP, shortened(path)) from None
            yield Entry(name, "broken")
            continue
        if stat.S_ISREG(info.st_mode):
            yield Entry(name, "file", stamp(info))
        elif not stat.S_ISDIR(info.st_mode):
            yield Entry(name, "special")
        elif (here := identity(info)) in place.above:
            yield Entry(name, "loop")
        else:
            link = os.path.islink(path)
            if link and place.linked and here in first:
                yield Entry(name, f"again {len(first[here])} {first[here]}")
                continue
            if link:
                first.setdefault(here, name)
            yield Entry(name, "folder")
            yield Place(path, f"{name}/", place.above | {here}, place.linked or link)


def identity(info: os.stat_result) -> Identity:
    """What tells one folder from another, whatever path leads to it."""
    return info.st_dev, info.st_ino


def shortened(path: str) -> str:
    """The beginning of a path that is too long to be shown."""
    return f"{path[:SHOWN]}..."
