"""Metrics of weighted images, for many weightings at once: (B, N) weights -> (B,) values; nan where one is not defined."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.bootstrap import Statistic

Weights = NDArray[np.float64]
TINY = np.finfo(np.float64).eps  # as sklearn.metrics.log_loss clips


def accuracy(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> Statistic:
    """Share of the images that are classified rightly."""
    return mean((probabilities.argmax(axis=1) == labels).astype(np.float64))


def log_loss(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> Statistic:
    """Mean negative log-likelihood, in nats."""
    return mean(losses(probabilities, labels))


def losses(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Negative log-likelihood of every image's own class, in nats, (N,)."""
    return np.asarray(-np.log(np.clip(probabilities[np.arange(len(labels)), labels], TINY, 1)))


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
    return lambda weights: np.asarray(np.mean([part(weights) for part in parts], axis=0))


def binary_auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Statistic:
    """Probability that a positive image has the larger score than a negative one, ties counted half (Mann & Whitney 1947)."""
    values, place = np.unique(scores, return_inverse=True)
    order = np.argsort(place, kind="stable")
    begins = np.searchsorted(place[order], np.arange(len(values)))
    sign = positive[order].astype(np.float64)

    def of(weights: Weights) -> NDArray[np.float64]:
        own = weights[:, order]
        right = np.add.reduceat(own * sign, begins, axis=1)
        wrong = np.add.reduceat(own * (1 - sign), begins, axis=1)
        below = np.cumsum(wrong, axis=1) - wrong / 2
        with np.errstate(invalid="ignore"):
            return np.asarray((right * below).sum(axis=1) / (right.sum(axis=1) * wrong.sum(axis=1)))

    return of
