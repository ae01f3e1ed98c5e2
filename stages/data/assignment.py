"""Which image trains, which validates, which tests, and in which fold: drawn within each class, by content.

Every unit, which is a group or else a content, has a number in 0..1 that depends on nothing but it and the seed. "stable" cuts
these numbers: an image that is added moves no other, and shares come out as chance has it. "exact" ranks them: shares
come out as asked, and an added image moves a few others.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from kpipe.stage import StageError
from stages.data.manifest import Item
from stages.data.splits import listed

How = Literal["stable", "exact"]
Places = dict[str, str]  # unit -> split


def unit(item: Item) -> str:
    """What is never torn apart: the image's group, or all exact copies of it."""
    return f"group {item.group}" if item.group else item.hash


def number(name: str, seed: int, purpose: str = "") -> float:
    """A number in 0..1 that looks random and depends on nothing but its arguments."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{purpose}:{name}".encode()).digest()[:7]) / 256**7


def assign(items: Sequence[Item], shares: Mapping[str, float], seed: int, how: How) -> list[Item]:
    """Training images, and those of no split yet, spread over train and the splits in `shares`; the order stays.

    Every class has an image in every split at least. StageError where a class has too few units, or where a group lies in
    several splits that were given.
    """
    free = [item for item in items if item.split in ("", "train")] if shares else []
    places = cut(free, shares, seed) if how == "stable" else ranked(free, shares, seed)
    placed = [
        replace(item, split=places.get(unit(item), "train")) if shares and item.split in ("", "train") else item for item in items
    ]
    check_groups(placed)
    return placed


def cut(items: Sequence[Item], shares: Mapping[str, float], seed: int) -> Places:
    """Each split has an interval of the numbers; a class without a unit in one gives it the nearest."""
    low, intervals = 0.0, {}
    for split, share in shares.items():
        intervals[split] = (low, low + share)
        low += share
    intervals["train"] = (low, 1.0)
    places = {name: within(number(name, seed), intervals) for name in {unit(item) for item in items}}
    for label, units in by_class(items).items():
        enough(label, units, shares)
        for split in intervals:
            held = Counter(places[name] for name in units)
            if not held[split]:
                spare = [name for name in units if held[places[name]] > 1]
                places[min(spare, key=lambda name: distance(number(name, seed), *intervals[split]))] = split
    return places


def within(value: float, intervals: Mapping[str, tuple[float, float]]) -> str:
    """The split whose interval has the number."""
    return next(split for split, (low, high) in intervals.items() if low <= value < high)


def distance(value: float, low: float, high: float) -> float:
    """From a number to an interval."""
    return max(low - value, value - high, 0.0)


def ranked(items: Sequence[Item], shares: Mapping[str, float], seed: int) -> Places:
    """Within each class, by rank of the numbers: every split its share of the images, rounded, and at least one unit."""
    places: Places = {}
    for label, units in by_class(items).items():
        enough(label, units, shares)
        total = sum(units.values())
        wanted = {split: max(int(total * share + 0.5), 1) for split, share in shares.items()}
        if sum(wanted.values()) >= total:
            raise too_few(label, units, shares)
        held = Counter({split: sum(units[name] for name in units if places.get(name) == split) for split in wanted})
        for name in sorted(units, key=lambda name: number(name, seed)):
            if name not in places:
                places[name] = next((split for split in wanted if held[split] < wanted[split]), "train")
                held[places[name]] += units[name]
    return places


def by_class(items: Sequence[Item]) -> dict[str, Counter[str]]:
    """class -> how many images each of its units has; classes sorted."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        found[item.label][unit(item)] += 1
    return dict(sorted(found.items()))


def enough(label: str, units: Mapping[str, int], shares: Mapping[str, float]) -> None:
    """StageError where there are fewer units than splits."""
    if len(units) <= len(shares):
        raise too_few(label, units, shares)


def too_few(label: str, units: Mapping[str, int], shares: Mapping[str, float]) -> StageError:
    """The error of a class that is too small to be spread."""
    groups = any(name.startswith("group ") for name in units)
    what = f"{len(units)} {'group' if groups else 'different image'}{'s' * (len(units) != 1)}"
    return StageError(
        f"class {label!r} has {what}, too few for {listed(['train', *shares])}",
        hint="add images, or give smaller shares: " + ", ".join(f"{split} = {share}" for split, share in shares.items()),
    )


def check_groups(items: Sequence[Item]) -> None:
    """StageError where a group lies in two splits: what was learned of it in one would count as recognised in the other."""
    splits: dict[str, set[str]] = defaultdict(set)
    for item in items:
        if item.group:
            splits[item.group].add(item.split)
    if torn := sorted(group for group, found in splits.items() if len(found) > 1):
        raise StageError(f"group {listed(torn)} lies in several splits", hint="give all its images the same split, or none")


def fold(items: Sequence[Item], folds: int, seed: int, how: How) -> list[Item]:
    """All images but those of test spread over folds for cross-validation, within each class; the order stays.

    StageError where a class has fewer units than there are folds, or a fold would have none of a class.
    """
    places: dict[str, int] = {}
    for label, units in by_class([item for item in items if item.split != "test"]).items():
        new = sorted((name for name in units if name not in places), key=lambda name: number(name, seed, "fold"))
        for rank, name in enumerate(new):
            places[name] = rank % folds if how == "exact" else int(number(name, seed, "fold") * folds)
        if missing := sorted(set(range(folds)) - {places[name] for name in units}):
            says = f"folds = {folds}: class {label!r} has {len(units)} images or groups, and none in fold {missing[0]}"
            raise StageError(says, hint='give fewer folds, or split = "exact"')
    return [replace(item, fold=places[unit(item)]) if item.split != "test" else item for item in items]
