"""Bootstrap intervals of the differences of every two branches, all from one set of resamples of their test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from stages import bootstrap
from stages.reporting.paired import Comparison, Difference
from stages.reporting.results import Result
from stages.reporting.same_images import stacked

METRICS = ("accuracy", "log_loss", "macro_f1")


def with_intervals(pairs: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons of single branches, each with its differences in accuracy, log loss and macro F1 in `more`.

    Left as it is where the two were tested on other images: then they share no resamples.
    """
    results = {group.number: group.lead for pair in pairs for group in (pair.first, pair.second)}
    tested: dict[bytes, list[Result]] = {}
    for result in results.values():
        tested.setdefault(result.tested, []).append(result)
    resampled = {images: Resampled(same) for images, same in tested.items() if len(same) > 1}
    told = []
    for pair in pairs:
        one, other = pair.first.lead, pair.second.lead
        found = resampled[one.tested].differences(one, other) if one.tested == other.tested else {}
        told.append(replace(pair, more={**pair.more, **found}))
    return told


class Resampled:
    """The metrics of branches that were tested on the same images: as they are, on resamples, and with images left out."""

    def __init__(self, results: Sequence[Result], seed: int = 0) -> None:
        images = len(results[0].test)
        self.place = {result.number: place for place, result in enumerate(results)}
        metrics = Metrics(results)
        count = bootstrap.affordable(images, len(results))
        drawn = [metrics.of(weights) for weights in bootstrap.resamples(images, count, seed)]
        self.values = np.concatenate(drawn, axis=2)
        self.left_out = np.concatenate([metrics.of(weights) for weights in bootstrap.jackknife(images)], axis=2)
        self.whole = metrics.of(np.ones((1, images)))[:, :, 0]

    def differences(self, first: Result, second: Result) -> dict[str, Difference]:
        """First minus second of every metric, both on the same resamples (BCa: stages/bootstrap.py)."""
        one, other = self.place[first.number], self.place[second.number]
        told = {}
        for name, whole, values, left_out in zip(METRICS, self.whole, self.values, self.left_out, strict=True):
            found = float(whole[one] - whole[other])
            if np.isfinite(found):
                told[name] = Difference(found, bootstrap.bca(values[one] - values[other], found, left_out[one] - left_out[other]))
        return told


class Metrics:
    """Accuracy, log loss and macro F1 of M branches on the same N images, under weights of the images.

    Macro F1 as in `stages/evaluation/weighted.py`, by products of sparse matrices: more classes are no more work.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        tables = [result.test for result in results]
        self.correct, self.losses = stacked(tables, "correct"), stacked(tables, "loss")
        names = np.concatenate([tables[0]["label"], *(table["predicted"] for table in tables)])
        codes, classes = pd.factorize(names)
        labels, *predicted = codes.reshape(len(results) + 1, -1)
        self.there = members(labels, len(classes))
        self.named = [members(of_branch, len(classes)) for of_branch in predicted]
        self.right = [members(labels, len(classes), right) for right in self.correct]

    def of(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(B, N) weights -> (metrics, M, B)."""
        columns = np.ascontiguousarray(weights.T)
        there = self.there @ columns
        whole = weights.sum(axis=1)
        scores = []
        for named, right in zip(self.named, self.right, strict=True):
            with np.errstate(invalid="ignore"):
                scores.append(np.nanmean(2 * (right @ columns) / (named @ columns + there), axis=0))
        return np.stack([self.correct @ columns / whole, self.losses @ columns / whole, np.stack(scores)])


def members(codes: NDArray[np.int64], classes: int, weights: NDArray[np.float64] | None = None) -> csr_array:
    """Which images belong to which class, (classes, images)."""
    values = np.ones(len(codes)) if weights is None else weights
    return csr_array((values, (codes, np.arange(len(codes)))), shape=(classes, len(codes)))
