"""What is linked to what, over chains of any length."""

from __future__ import annotations

from collections.abc import Hashable


class Links:
    """A union-find structure (Galler & Fischer 1964): things that are linked have one top."""

    def __init__(self) -> None:
        self._above: dict[Hashable, Hashable] = {}

    def top(self, thing: Hashable) -> Hashable:
        """The same for all things that are linked."""
        while (higher := self._above.setdefault(thing, thing)) != thing:
            self._above[thing] = thing = self._above[higher]
        return thing

    def link(self, a: Hashable, b: Hashable) -> None:
        """Link two things, and all that they are linked with."""
        self._above[self.top(a)] = self.top(b)
