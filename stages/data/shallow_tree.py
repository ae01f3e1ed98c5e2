"""A decision tree of some levels, as scikit-learn makes it: importing that takes longer than a small data set does.

CART (Breiman, Friedman, Olshen & Stone 1984) by Gini impurity, all classes of the same weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAST = 2  # images of a leaf
SAME = 1e-7  # values that differ by no more are not parted


class Split(NamedTuple):
    """A place to part images; the larger its worth, the purer both sides."""

    worth: float
    feature: int
    threshold: float  # images up to it go to one side, those above it to the other


@dataclass(frozen=True)
class Tree:
    """A leaf with its class; or a split, with a tree for each side."""

    label: int
    split: Split | None = None
    sides: tuple[Tree, ...] = ()

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.int64]:
        """(N,): a class for each row of features (N, K)."""
        if self.split is None:
            return np.full(len(features), self.label)
        low = features[:, self.split.feature] <= self.split.threshold
        return np.where(low, *(side.predict(features) for side in self.sides))


def fit(features: NDArray[np.float64], labels: NDArray[np.int64], depth: int) -> Tree:
    """The tree for features (N, K) of images whose classes (N,) count from 0, every one of them there."""
    counts = np.bincount(labels)
    return grow(features, labels, len(labels) / (len(counts) * counts), depth)


def grow(features: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64], depth: int) -> Tree:
    """As `fit`; `weights` are those of one image of each class."""
    label = int(np.argmax(np.bincount(labels, weights[labels])))  # summed one by one, so that equals round as scikit-learn's do
    pure = (labels == labels[0]).all()
    splits = [] if pure or not depth else [best(features[:, k], labels, weights, k) for k in range(features.shape[1])]
    split = max((split for split in splits if split), key=lambda split: split.worth, default=None)
    if split is None:
        return Tree(label)
    low = features[:, split.feature] <= split.threshold
    return Tree(label, split, tuple(grow(features[side], labels[side], weights, depth - 1) for side in (low, ~low)))


def best(values: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64], feature: int) -> Split | None:
    """The best split by one feature; None where its values cannot be parted.

    Worth is, of both sides, the sum of the classes' squared weights over the side's weight: large where impurity is small.
    """
    order = np.argsort(values, kind="stable")
    ordered, classes = values[order], labels[order]
    own, before = weights[classes], before_it(classes, weights)
    total = np.bincount(classes, minlength=len(weights)) * weights
    left, left_squares = np.cumsum(own), np.cumsum(own * (2 * before + own))
    right = left[-1] - left
    right_squares = (total**2).sum() - np.cumsum(own * (2 * (total[classes] - before) - own))
    ends = np.arange(LEAST - 1, len(values) - LEAST)  # the last image of the left side
    ends = ends[ordered[ends + 1] - ordered[ends] > SAME]
    if not len(ends):
        return None
    worth = left_squares[ends] / left[ends] + right_squares[ends] / right[ends]
    at = ends[int(np.argmax(worth))]
    return Split(float(worth.max()), feature, float((ordered[at] + ordered[at + 1]) / 2))


def before_it(classes: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,): for each image in their order, the weight of those of its class before it."""
    by_class = np.argsort(classes, kind="stable")
    sizes = np.bincount(classes, minlength=len(weights))
    counted = np.empty(len(classes))
    counted[by_class] = np.arange(len(classes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return counted * weights[classes]


def stratified(labels: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """(N,): a fold for each image, every fold with its share of every class; as scikit-learn's StratifiedKFold deals them."""
    random = np.random.RandomState(seed)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    classes = np.argsort(np.argsort(first))[inverse]  # in the order of their first image
    ordered = np.sort(classes)
    found = np.empty(len(labels), np.int64)
    for number in range(len(first)):
        own = np.repeat(np.arange(folds), [int((ordered[fold::folds] == number).sum()) for fold in range(folds)])
        random.shuffle(own)
        found[classes == number] = own
    return found
