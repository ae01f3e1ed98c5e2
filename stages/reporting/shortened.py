"""Names of branches and classes cut to the room that a figure has for them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from unicodedata import east_asian_width

from stages.reporting.wording import printable


def shortened(names: Sequence[str], room: int) -> list[str]:
    """The names without the middle of those that take more than `room` characters (of Latin text; of Chinese half as many).

    The middle is where it leaves as many of them different as can be.
    """
    shown = [printable(name) for name in names]
    ends = sorted(range(room), key=lambda end: abs(end - (room - 1) // 2))
    return max(([_without_middle(name, room, end) for name in shown] for end in ends), key=lambda cut: len(set(cut)))


def told_apart(names: Sequence[str], room: int) -> list[str]:
    """The same, with the number of each name before it where that does not leave all of them different."""
    cut = shortened(names, room)
    if len(set(cut)) == len(set(names)):
        return cut
    digits = len(str(len(names)))
    return [f"{number} {name}" for number, name in enumerate(shortened(names, room - digits - 1), 1)]


def _without_middle(name: str, room: int, end: int) -> str:
    if sum(map(_width, name)) <= room:
        return name
    return f"{_beginning(name, room - 1 - end)}\N{HORIZONTAL ELLIPSIS}{_beginning(name[::-1], end)[::-1]}"


def _beginning(text: str, room: int) -> str:
    return text[: bisect_right(list(accumulate(map(_width, text))), room)]


def _width(character: str) -> int:
    return 2 if east_asian_width(character) in "FW" else 1
