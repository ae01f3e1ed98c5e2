"""Metrics of weighted images, for many weightings at once: (B, N) weights -> (B,) values; nan where one is not defined."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from stages.bootstrap import Statistic
from stages.network.scores import cross_entropies

Weights = NDArray[np.float64]
Columns = NDArray[np.float64]  # (N, B)


def accuracy(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> Statistic:
    """Share of the images that are classified rightly."""
    return mean((probabilities.argmax(axis=1) == labels).astype(np.float64))


def log_loss(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> Statistic:
    """Mean negative log-likelihood, in nats."""
    return mean(cross_entropies(probabilities, labels))


def mean(values: NDArray[np.float64]) -> Statistic:
    """The mean of a number of every image."""
    return lambda weights: np.asarray(weights @ values / weights.sum(axis=1))


def macro_f1(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> Statistic:
    """Mean F1 over the classes, 0 for a class that is never named; a class that is neither there nor named does not count."""
    classes = range(probabilities.shape[1])
    named = np.stack([probabilities.argmax(axis=1) == k for k in classes], axis=1).astype(np.float64)
    there = np.stack([labels == k for k in classes], axis=1).astype(np.float64)

    def of(weights: Weights) -> NDArray[np.float64]:
        both = weights @ (named + there)  # 2 TP + FP + FN
        with np.errstate(invalid="ignore"):
            scores = 2 * (weights @ (named * there)) / both
        return np.asarray(np.nanmean(scores, axis=1))

    return of


def auc(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> Statistic:
    """Area under the ROC curve, one class against the rest, mean over the classes (Hand & Till 2001 discuss the alternatives)."""
    parts = [binary_auc(probabilities[:, k], labels == k) for k in range(probabilities.shape[1])]
    parts = parts[1:] if len(parts) == 2 else parts  # of two classes both are the same

    def of(weights: Weights) -> NDArray[np.float64]:
        columns = np.ascontiguousarray(weights.T)
        return np.asarray(np.mean([part(columns) for part in parts], axis=0))

    return of


def binary_auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Callable[[Columns], NDArray[np.float64]]:
    """Probability that a positive image has the larger score than a negative one, ties counted half (Mann & Whitney 1947).

    Sparse matrices sum the weights of what has the same place among the scores of the positive images, which of many classes
    are few.
    """
    values = np.unique(scores[positive])
    place = np.searchsorted(values, scores, "left") + np.searchsorted(values, scores, "right")  # odd: as a positive image
    shape = (2 * len(values) + 1, len(scores))
    rights, wrongs = (
        csr_array((np.ones(len(rows)), (place[rows], rows)), shape) for rows in map(np.flatnonzero, (positive, ~positive))
    )

    def of(columns: Columns) -> NDArray[np.float64]:
        right, wrong = rights @ columns, wrongs @ columns
        below = np.cumsum(wrong, axis=0) - wrong / 2
        with np.errstate(invalid="ignore"):
            return np.asarray((right * below).sum(axis=0) / (right.sum(axis=0) * wrong.sum(axis=0)))

    return of
