"""What is in a data set and what is odd about it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from statistics import median_low
from typing import Any

from stages.data.manifest import SPLITS, Item

PAIRS_SHOWN = 50


def audit(
    items: Sequence[Item], *, size: tuple[int, int], skipped: Sequence[tuple[str, str]], others: Sequence[str], ignored: int
) -> dict[str, Any]:
    """Counts, sizes, duplicates and imbalance as plain data. `skipped` are (path, reason), `others` no images at all."""
    return {
        "files": len(items) + len(skipped) + len(others),
        "images": len(items),
        "skipped": [{"path": path, "reason": reason} for path, reason in skipped],
        "others": list(others[:PAIRS_SHOWN]),
        "ignored": ignored,
        "formats": dict(sorted(Counter(item.format for item in items).items())),
        "modes": dict(sorted(Counter(item.mode for item in items).items())),
        "sizes": sizes(items),
        "enlarged": sum(item.height < size[0] or item.width < size[1] for item in items),
        "counts": counts(items),
        "duplicates": duplicates(items),
        "imbalance": imbalance(items),
    }


def counts(items: Sequence[Item]) -> dict[str, dict[str, int]]:
    """split -> class -> images, splits in their order, classes sorted."""
    found = Counter((item.split, item.label) for item in items)
    classes = sorted({item.label for item in items})
    return {split: {label: found[split, label] for label in classes} for split in SPLITS}


def sizes(items: Sequence[Item]) -> dict[str, list[int]]:
    """[width, height] of the smallest, the median and the largest image; each side for itself."""
    widths, heights = [i.width for i in items], [i.height for i in items]
    return {name: [f(widths), f(heights)] for name, f in (("min", min), ("median", median_low), ("max", max))}


def duplicates(items: Sequence[Item]) -> dict[str, Any]:
    """Exact copies, by content.

    "across_splits": contents that occur in more than one split; "within": contents that occur more than once in one split
    only; "conflicting": contents with more than one class; "pairs": the first pairs of paths, those across splits first.
    """
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.hash].append(item)
    copies = [group for group in groups.values() if len(group) > 1]
    across = [group for group in copies if len({i.split for i in group}) > 1]
    within = [group for group in copies if len({i.split for i in group}) == 1]
    pairs = [[a.path, b.path] for group in (*across, *within) for a, b in combinations(group[: PAIRS_SHOWN + 1], 2)]
    return {
        "across_splits": len(across),
        "within": len(within),
        "conflicting": sum(len({i.label for i in group}) > 1 for group in copies),
        "pairs": pairs[:PAIRS_SHOWN],
    }


def imbalance(items: Sequence[Item]) -> float:
    """Images of the largest class in training over those of the smallest; 1 is balanced."""
    training = Counter(item.label for item in items if item.split == "train").values()
    return round(max(training) / min(training), 4)
