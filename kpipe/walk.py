"""Every path below a folder, in one order, with what a look at it gives."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from kpipe.statcache import Stamp, stamp

NO_STAMP: Stamp = (0, 0, 0, 0)


class Entry(NamedTuple):
    """One path below a folder."""

    name: str  # relative
    kind: str  # file, folder, special (never opened), broken, loop, unreadable
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


def entries(folder: str, below: str = "", above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Entry]:
    """Every path below a folder, sorted in each folder; links count as what they point to."""
    here = os.stat(folder)
    above |= {(here.st_dev, here.st_ino)}
    try:
        inside = sorted(os.listdir(folder))  # names alone: there may be very many, and what a scan yields keeps its stat
    except PermissionError:
        yield Entry(below, "unreadable")
        return
    for own in inside:
        name, path = below + own, f"{folder}/{own}"
        try:
            info = os.stat(path)
        except OSError:
            yield Entry(name, "broken")
            continue
        if stat.S_ISREG(info.st_mode):
            yield Entry(name, "file", stamp(info))
        elif not stat.S_ISDIR(info.st_mode):
            yield Entry(name, "special")
        elif (info.st_dev, info.st_ino) in above:
            yield Entry(name, "loop")
        else:
            yield Entry(name, "folder")
            yield from entries(path, f"{name}/", above)
