"""Which image trains, which validates, which tests, and in which fold: drawn within each class, by content.

Every unit, which is a group or else a picture with its copies, has a number in 0..1 that depends on nothing but it and the
seed. "stable" cuts these numbers: an image that is added moves no other, and shares come out as chance has it. "exact" ranks
them: shares come out as asked, and an added image moves a few others.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Literal

from kpipe.stage import StageError
from stages.data.linked import Links
from stages.data.manifest import Item
from stages.data.splits import listed

How = Literal["stable", "exact"]
Classes = Mapping[str, Mapping[str, int]]  # label -> unit -> images
Places = dict[str, str]  # unit -> split


def units(items: Sequence[Item], copies: Sequence[int] | None = None) -> list[str]:
    """For each image, the name of what is never torn apart: its group, or else all copies of it, by the first one's content.

    `copies` has the same number for copies; where it is left out, these are the images with the same content. What is linked
    by groups and copies together is one unit, under the name of its first group in the order of text.
    """
    same = [item.hash for item in items] if copies is None else copies
    links = Links()
    for item, content in zip(items, same, strict=True):
        if item.group:
            links.link(("group", item.group), content)
    names: dict[Hashable, str] = {}
    for group in sorted({item.group for item in items if item.group}):
        names.setdefault(links.top(("group", group)), f"group {group}")
    return [names.setdefault(links.top(content), item.hash) for item, content in zip(items, same, strict=True)]


def number(name: str, seed: int, purpose: str = "") -> float:
    """A number in 0..1 that looks random and depends on nothing but its arguments."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{purpose}:{name}".encode()).digest()[:7]) / 256**7


def assign(
    items: Sequence[Item], shares: Mapping[str, float], seed: int, how: How, held: Sequence[str] | None = None
) -> list[Item]:
    """Training images, and those of no split yet, spread over train and the splits in `shares`; the order stays.

    `held` names the unit of each image, as `units` does. Every class has an image in every split at least. StageError where a
    class has too few units, or where a group lies in several splits that were given.
    """
    names = units(items) if held is None else held
    free = [item.split in ("", "train") and bool(shares) for item in items]
    classes = by_class([(item.label, name) for item, name, is_free in zip(items, names, free, strict=True) if is_free])
    places = cut(classes, shares, seed) if how == "stable" else ranked(classes, shares, seed)
    placed = [
        replace(item, split=places[name]) if is_free else item for item, name, is_free in zip(items, names, free, strict=True)
    ]
    check_groups(placed)
    check_classes(placed, classes, shares)
    return placed


def cut(classes: Classes, shares: Mapping[str, float], seed: int) -> Places:
    """Each split has an interval of the numbers; a class without a unit in one gives it the nearest."""
    low, intervals = 0.0, {}
    for split, share in shares.items():
        intervals[split] = (low, low + share)
        low += share
    intervals["train"] = (low, 1.0)
    places = {name: within(number(name, seed), intervals) for units in classes.values() for name in units}
    for label, units in classes.items():
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


def ranked(classes: Classes, shares: Mapping[str, float], seed: int) -> Places:
    """Within each class, by rank of the numbers: every split its share of the images, rounded, and at least one unit.

    A unit that would leave a split further off than it is goes to train.
    """
    places: Places = {}
    for label, units in sorted(classes.items(), key=lambda found: len(found[1])):  # units that classes share: the rarest chooses
        enough(label, units, shares)
        total = sum(units.values())
        wanted = {split: max(int(total * share + 0.5), 1) for split, share in shares.items()}
        if sum(wanted.values()) >= total:
            smaller = ", ".join(f"{split} = {share}" for split, share in shares.items())
            raise too_few(label, units, shares, f"add images, or give smaller shares: {smaller}")
        held = Counter({split: sum(units[name] for name in units if places.get(name) == split) for split in (*wanted, "train")})
        new = sorted((name for name in units if name not in places), key=lambda name: number(name, seed))
        for left, name in zip(range(len(new), 0, -1), new, strict=True):
            empty = [split for split in held if not held[split]]
            fitting = [*(split for split in wanted if units[name] <= 2 * (wanted[split] - held[split])), "train"]
            places[name] = fitting[0] if left > len(empty) else [*(split for split in fitting if split in empty), *empty][0]
            held[places[name]] += units[name]
    return places


def by_class(images: Iterable[tuple[str, str]]) -> Classes:
    """class -> how many images each of its units has, of (label, unit) of every image; classes sorted."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for label, name in images:
        found[label][name] += 1
    return dict(sorted(found.items()))


def enough(label: str, units: Mapping[str, int], shares: Mapping[str, float]) -> None:
    """StageError where there are fewer units than splits."""
    if len(units) <= len(shares):
        raise too_few(label, units, shares, f"it needs {len(shares) + 1} at least: add images, or remove the class")


def too_few(label: str, units: Mapping[str, int], shares: Mapping[str, float], hint: str) -> StageError:
    """The error of a class that is too small to be spread."""
    groups = any(name.startswith("group ") for name in units)
    what = f"{len(units)} {'group' if groups else 'different image'}{'s' * (len(units) != 1)}"
    return StageError(f"class {label!r} has {what}, too few for {listed(['train', *shares])}", hint=hint)


def check_classes(items: Sequence[Item], classes: Iterable[str], shares: Mapping[str, float]) -> None:
    """StageError where a class that was spread has no image in a split: others took the groups that it shares with them."""
    found = {(item.label, item.split) for item in items}
    for label, split in product(classes, ("train", *shares)):
        if (label, split) not in found:
            raise StageError(
                f"class {label!r} has no image in {split}: it shares its groups, or copies of its images, with other classes",
                hint="give another seed, or add images of this class alone",
            )


def check_groups(items: Sequence[Item]) -> None:
    """StageError where a group lies in two splits: what was learned of it in one would count as recognised in the other."""
    splits: dict[str, set[str]] = defaultdict(set)
    for item in items:
        if item.group:
            splits[item.group].add(item.split)
    if torn := sorted(group for group, found in splits.items() if len(found) > 1):
        raise StageError(f"group {listed(torn)} lies in several splits", hint="give all its images the same split, or none")


def fold(items: Sequence[Item], folds: int, seed: int, how: How, held: Sequence[str] | None = None) -> list[Item]:
    """All images but those of test spread over folds for cross-validation, within each class; the order stays.

    `held` names the unit of each image, as `units` does. StageError where a class has fewer units than there are folds, or a
    fold would have none of a class.
    """
    names = units(items) if held is None else held
    places: dict[str, int] = {}
    kept = [(item.label, name) for item, name in zip(items, names, strict=True) if item.split != "test"]
    for label, own in by_class(kept).items():
        new = sorted((name for name in own if name not in places), key=lambda name: number(name, seed, "fold"))
        for rank, name in enumerate(new):
            places[name] = rank % folds if how == "exact" else int(number(name, seed, "fold") * folds)
        if missing := sorted(set(range(folds)) - {places[name] for name in own}):
            says = f"folds = {folds}: class {label!r} has {len(own)} images or groups, and none in fold {missing[0]}"
            raise StageError(says, hint='give fewer folds, or split = "exact"')
    return [replace(item, fold=places[name]) if item.split != "test" else item for item, name in zip(items, names, strict=True)]
