"""Properties of the files that tell the class by themselves: a network may learn these instead of what it is shown."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.data import shallow_tree
from stages.data.manifest import Item
from stages.data.traits import Traits

MOST = 5000  # training images that are looked at
FOLDS = 5
DEPTH = 3  # of the tree
Z = 1.96  # a 95% interval
CLASSES_SHOWN = 10


def find(items: Sequence[Item], traits: Traits, seed: int) -> list[dict[str, Any]]:
    """For each property that is not the same everywhere, how well it predicts the class of training images, best first.

    [{"property", "score": balanced accuracy of a shallow decision tree in stratified cross-validation, "interval": its 95%
    interval, "chance", "images", "typical": class -> median or most frequent value}]. Nothing where `too_few` names a class.
    """
    if too_few(items, seed):
        return []
    rows = looked_at(items, seed)
    labels = np.array([items[i].label for i in rows])
    classes = np.unique(labels)
    told = []
    for name, features, shown in properties([items[i] for i in rows], traits.of(rows)):
        if (features == features[0]).all():
            continue
        score, interval = predicted(features, labels, seed)
        told.append({
            "property": name, "score": round(score, 4), "interval": [round(limit, 4) for limit in interval],
            "chance": round(1 / len(classes), 4), "images": len(rows), "typical": typical(shown, labels),
        })  # fmt: skip
    return sorted(told, key=lambda cue: -cue["score"])


def looked_at(items: Sequence[Item], seed: int) -> NDArray[np.int64]:
    """Positions of the training images, or of a sample of so many that they are quickly looked at."""
    training = np.array([i for i, item in enumerate(items) if item.split == "train"])
    return np.sort(np.random.default_rng([seed, len(training)]).permutation(training)[:MOST])


def too_few(items: Sequence[Item], seed: int) -> list[str]:
    """Classes with fewer images among those looked at than there are folds, so that nothing can be cross-validated."""
    counts = Counter(items[i].label for i in looked_at(items, seed))
    return sorted(label for label in {item.label for item in items} if counts[label] < FOLDS)


def properties(items: Sequence[Item], traits: Traits) -> Iterator[tuple[str, NDArray[Any], Sequence[Any]]]:
    """Name, features (N, K) for a model, and a value for a person of each image."""
    for name, own in (("file size in bytes", "bytes"), ("width", "width"), ("height", "height")):
        values = [getattr(item, own) for item in items]
        yield name, np.array(values, float)[:, None], values
    for name in ("format", "mode"):
        words = np.array([getattr(item, name) for item in items])
        yield name, (words[:, None] == np.unique(words)).astype(float), words.tolist()
    yield "border colour", traits.border, [" ".join(f"{level:.0f}" for level in color) for color in traits.border / 16 // 1 * 16]
    yield "mean brightness", traits.brightness[:, None], traits.brightness.tolist()
    yield "sharpness", traits.sharpness[:, None], traits.sharpness.tolist()


def predicted(features: NDArray[Any], labels: NDArray[np.str_], seed: int) -> tuple[float, tuple[float, float]]:
    """Balanced accuracy of a decision tree in cross-validation, and its 95% interval.

    The mean of the classes' recalls; the interval is normal, with each recall moved to the middle as Agresti & Coull 1998
    do, so that a few images do not make a certainty.
    """
    _, numbers = np.unique(labels, return_inverse=True)
    folds, said = shallow_tree.stratified(numbers, FOLDS, seed), np.empty_like(numbers)
    for fold in range(FOLDS):
        out = folds == fold
        said[out] = shallow_tree.fit(features[~out].astype(np.float64), numbers[~out], DEPTH).predict(features[out])
    totals, hits = np.bincount(numbers), np.bincount(numbers[said == numbers], minlength=numbers.max() + 1)
    found = list(zip(hits.tolist(), totals.tolist(), strict=True))
    moved = [((hits + Z**2 / 2) / (total + Z**2), total + Z**2) for hits, total in found]
    centre = statistics.fmean(recall for recall, _ in moved)
    half = Z * math.sqrt(sum(recall * (1 - recall) / total for recall, total in moved)) / len(moved)
    return statistics.fmean(hits / total for hits, total in found), (max(centre - half, 0.0), min(centre + half, 1.0))


def typical(values: Sequence[Any], labels: NDArray[np.str_]) -> dict[str, str]:
    """For the first classes, the median of numbers, or the most frequent of words."""
    told = {}
    for name in np.unique(labels)[:CLASSES_SHOWN]:
        own = [value for value, label in zip(values, labels, strict=True) if label == name]
        told[str(name)] = Counter(own).most_common(1)[0][0] if isinstance(own[0], str) else number(statistics.median(own))
    return told


def number(value: float) -> str:
    """Whole where it is large, with four digits otherwise."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"
