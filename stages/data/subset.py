"""A stratified sample of a data set."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from kpipe.stage import StageError
from stages.data.assignment import number
from stages.data.manifest import Item


def subset(items: Sequence[Item], size: float, seed: int) -> list[Item]:
    """A stratified sample: so many images in all (1 or more), or this share of them, evenly of every class and given split.

    A larger one contains a smaller one. StageError where there are fewer images than were asked for, or than classes.
    """
    strata: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        strata[item.split, item.label].append(item)
    total = size if size >= 1 else size * len(items)
    if not len(strata) <= total <= len(items):
        says = f"subset = {size:g} is {math.floor(total)} images of {len(items)}, in {len(strata)} classes and splits"
        raise StageError(says, hint="give at least one image for each class and split, and at most all")
    chosen = set()
    for part, count in zip(strata.values(), dealt([len(part) for part in strata.values()], total), strict=True):
        part.sort(key=lambda item: (number(item.hash, seed, "subset"), item.path))
        chosen |= {item.path for item in part[:count]}
    return [item for item in items if item.path in chosen]


def dealt(sizes: Sequence[int], total: float) -> list[int]:
    """How many images of each stratum: its share of `total`, by largest remainders (Hamilton), and at least one."""
    exact = [size * total / sum(sizes) for size in sizes]
    counts = [max(int(share), 1) for share in exact]
    for place in sorted(range(len(sizes)), key=lambda place: exact[place] - int(exact[place]), reverse=True):
        if sum(counts) < round(total) and counts[place] < sizes[place]:
            counts[place] += 1
    return counts
