"""What is in a data set, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median_low
from typing import Any

from stages.data.manifest import SPLITS, Item

OTHERS_LISTED = 50


def audit(
    items: Sequence[Item],
    *,
    size: tuple[int, int],
    skipped: Sequence[tuple[str, str]],
    others: Sequence[str],
    ignored: int,
    unsampled: int = 0,
) -> dict[str, Any]:
    """Counts, sizes and imbalance as plain data.

    `skipped` are (path, reason), `others` no images at all, `unsampled` the number of images that a sample left out.
    """
    return {
        "files": len(items) + unsampled + len(skipped) + len(others),
        "images": len(items),
        "unsampled": unsampled,
        "skipped": [{"path": path, "reason": reason} for path, reason in skipped],
        "others": list(others[:OTHERS_LISTED]),
        "other_files": len(others),
        "ignored": ignored,
        "formats": dict(sorted(Counter(item.format for item in items).items())),
        "modes": dict(sorted(Counter(item.mode for item in items).items())),
        "sizes": sizes(items),
        "enlarged": sum(item.height < size[0] or item.width < size[1] for item in items),
        "counts": counts(items),
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


def imbalance(items: Sequence[Item]) -> float:
    """Images of the largest class in training over those of the smallest; 1 is balanced."""
    training = Counter(item.label for item in items if item.split == "train").values()
    return round(max(training) / min(training), 4)
