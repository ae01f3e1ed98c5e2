"""Images that are copies of each other: exact, or encoded anew, resized or mirrored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.data import perceptual
from stages.data.linked import Links
from stages.data.manifest import Item
from stages.data.perceptual import Near
from stages.data.traits import Traits

SMALL = 16  # pixels of a side: below, different images are as near as copies of large ones, and only exact ones are told
PAIRS_LISTED = 50  # of each kind
Group = list[int]  # positions of images that are copies of each other


@dataclass(frozen=True)
class Copies:
    """Which of N images are copies, by position."""

    exact: NDArray[np.int64]  # (N,): the same number for the same pixels
    all: NDArray[np.int64]  # (N,): the same number for copies, exact or near
    near: Near
    small: int = 0  # images that were compared by their pixels alone, because they are too small
    flat: int = 0  # or without structure

    def of(self, rows: NDArray[np.int64]) -> Copies:
        """The copies among some of the images, which get new positions."""
        place = np.full(len(self.exact), -1)
        place[rows] = np.arange(len(rows))
        pairs = place[self.near.pairs]
        kept = (pairs >= 0).all(1)
        near = replace(self.near, pairs=pairs[kept], similarity=self.near.similarity[kept], mirrored=self.near.mirrored[kept])
        return replace(self, exact=self.exact[rows], all=self.all[rows], near=near)


def find(items: Sequence[Item], traits: Traits) -> Copies:
    """The copies among images; near ones are looked for among one of each exact copies that is large enough and not flat."""
    _, first, exact = np.unique(traits.contents, return_index=True, return_inverse=True)
    large = np.array([min(item.width, item.height) >= SMALL for item in items])
    flat = perceptual.flat(traits)
    compared = np.sort(first[(large & ~flat)[first]])
    _, labels = np.unique([item.label for item in items], return_inverse=True)
    near = perceptual.find(traits.of(compared), labels[compared])
    near = replace(near, pairs=compared[near.pairs])
    links = Links()
    for a, b in exact[near.pairs].tolist():
        links.link(a, b)
    _, groups = np.unique([links.top(number) for number in exact.tolist()], return_inverse=True)
    return Copies(exact, groups, near, int((~large).sum()), int((large & flat).sum()))


def groups(numbers: NDArray[np.int64]) -> list[Group]:
    """Positions that have the same number, of numbers that several have, in the order of the first."""
    return [group for group in parted(range(len(numbers)), numbers) if len(group) > 1]


def originals(found: Copies, rows: Iterable[int], among: Iterable[int]) -> dict[int, int]:
    """Those of the rows that are copies of others -> which: an exact one, or else a near one, or else one by way of more."""
    others = by_number(among, found.all)
    near = {frozenset(pair) for pair in found.near.pairs.tolist()}

    def distance(row: int, other: int) -> int:
        return 0 if found.exact[row] == found.exact[other] else 1 if frozenset((row, other)) in near else 2

    return {row: min(same, key=lambda other: distance(row, other)) for row in rows if (same := others.get(int(found.all[row])))}


def parted(positions: Iterable[int], numbers: NDArray[np.int64]) -> list[Group]:
    """Positions by number, in the order of the first of each."""
    return list(by_number(positions, numbers).values())


def by_number(positions: Iterable[int], numbers: NDArray[np.int64]) -> dict[int, Group]:
    """Number -> positions that have it."""
    found: dict[int, Group] = defaultdict(list)
    for position in positions:
        found[int(numbers[position])].append(position)
    return dict(found)


def surplus(items: Sequence[Item], copies: Copies) -> dict[int, int]:
    """Training images that are copies -> which image stays for them.

    That is one of validation or test where there is one, or else the largest training image.
    """
    stays: dict[int, int] = {}
    for group in groups(copies.all):
        training = [i for i in group if items[i].split == "train"]
        others = [i for i in group if items[i].split != "train"]
        kept = others[0] if others else max(training, key=lambda i: (items[i].width * items[i].height, -i))
        stays |= {i: kept for i in training if i != kept}
    return dict(sorted(stays.items()))


def summary(items: Sequence[Item], copies: Copies) -> dict[str, Any]:
    """How many there are, as plain data, and the first pairs of paths.

    "across_splits": groups of copies in more than one split; "within": groups in one split only; "conflicting": groups with
    more than one class; "pairs": those across splits first. At the top are exact copies, under "near" groups that hold more
    than those: counted where they are across splits, or conflicting, and their exact copies alone are not. "leaked":
    validation and test images with a copy in training.
    """
    exact = groups(copies.exact)
    wider = [group for group in groups(copies.all) if len({int(copies.exact[i]) for i in group}) > 1]
    linked = [[int(a), int(b)] for a, b in copies.near.pairs]
    return {
        **_counted(items, exact, [[a, b] for group in exact for a, b in combinations(group[: PAIRS_LISTED + 1], 2)]),
        "near": {
            **_counted(items, wider, linked, copies.exact),
            "distance": copies.near.distance,
            "small": copies.small,
            "flat": copies.flat,
        },
        "leaked": {split: len(_leaked(items, copies, split)) for split in ("validation", "test")},
    }


def _counted(
    items: Sequence[Item], found: Sequence[Group], pairs: Sequence[Group], told: NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """`told` has the same number for exact copies, which are counted elsewhere."""

    def new(group: Group, is_so: Callable[[Sequence[Item], Sequence[int]], bool]) -> bool:
        return is_so(items, group) and not (told is not None and any(is_so(items, part) for part in parted(group, told)))

    first = sorted(pairs, key=lambda pair: not crosses(items, pair))[:PAIRS_LISTED]
    return {
        "across_splits": sum(new(group, crosses) for group in found),
        "within": sum(not crosses(items, group) for group in found),
        "conflicting": sum(new(group, conflicts) for group in found),
        "pairs": [[items[a].path, items[b].path] for a, b in first],
    }


def _leaked(items: Sequence[Item], copies: Copies, split: str) -> list[int]:
    trained = {int(group) for group, item in zip(copies.all, items, strict=True) if item.split == "train"}
    return [i for i, item in enumerate(items) if item.split == split and int(copies.all[i]) in trained]


def crosses(items: Sequence[Item], group: Sequence[int]) -> bool:
    """Whether copies lie in more than one split."""
    return len({items[i].split for i in group}) > 1


def conflicts(items: Sequence[Item], group: Sequence[int]) -> bool:
    """Whether copies are called differently."""
    return len({items[i].label for i in group}) > 1


def worst(items: Sequence[Item], group: Group) -> Group:
    """Two of the copies: the first that lie in different splits, or classes, or both, if any do."""
    pairs = [list(pair) for pair in combinations(group[: PAIRS_LISTED + 1], 2)]
    return max(pairs, key=lambda pair: crosses(items, pair) + conflicts(items, pair))


def telling(items: Sequence[Item], copies: Copies, most: int) -> Iterator[dict[str, Any]]:
    """The pairs to look at, at most so many exact and so many near ones: across splits or classes first."""
    near = zip(copies.near.pairs.tolist(), copies.near.similarity.tolist(), copies.near.mirrored.tolist(), strict=True)
    pairs = [("exact", worst(items, group), 1.0, False) for group in groups(copies.exact)]
    pairs += [("near", pair, similarity, mirrored) for pair, similarity, mirrored in near]
    pairs.sort(key=lambda told: -crosses(items, told[1]) - conflicts(items, told[1]))
    for kind in ("exact", "near"):
        for _, pair, similarity, mirrored in [told for told in pairs if told[0] == kind][:most]:
            yield {
                "kind": "same file" if len({items[i].hash for i in pair}) == 1 else "same pixels" if kind == "exact" else "near",
                "paths": [items[i].path for i in pair],
                "splits": [items[i].split for i in pair],
                "labels": [items[i].label for i in pair],
                "similarity": round(similarity, 4),
                "mirrored": mirrored,
            }
