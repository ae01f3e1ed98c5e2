"""The verdict by statistics: chosen on validation, told on test, compared on the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binomtest, norm

from stages.reporting import tested
from stages.reporting.results import Result, by_validation

ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """Two branches on the same test images; every number is first minus second.

    `only_first` and `only_second` count the images that one of them alone got right; `p` is exact McNemar, after
    `adjust` corrected for the number of comparisons (Holm).
    """

    first: Result
    second: Result
    images: int
    only_first: int
    only_second: int
    p: float

    @property
    def difference(self) -> float:
        """Difference of the two accuracies."""
        return (self.only_first - self.only_second) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        return paired_interval(self.only_first, self.only_second, self.images)

    @property
    def shown(self) -> bool:
        """Whether the test set shows a difference at all, in whatever direction."""
        return self.p < ALPHA


@dataclass(frozen=True)
class Verdict:
    """Who won. `outcome` is one of wins, reversed, tie, single, chance, apart."""

    outcome: str
    chosen: Result
    rivals: list[Comparison]

    @property
    def rival(self) -> Comparison | None:
        """The comparison that the headline speaks of: the one with the best rival on validation."""
        return self.rivals[0] if self.rivals else None


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p of McNemar's test: the discordant images are a fair coin if both are equally good (McNemar 1947)."""
    discordant = only_first + only_second
    return 1.0 if discordant == 0 else float(binomtest(only_first, discordant, 0.5).pvalue)


def paired_interval(only_first: int, only_second: int, images: int) -> tuple[float, float]:
    """95% interval of the difference of two paired proportions, never in conflict with the exact McNemar test.

    The wider of the adjusted Wald interval (Bonett & Price 2012), which covers well, and the exact conditional one
    (Clopper & Pearson 1934, of the discordant images), which leaves out 0 just where McNemar's p is below 0.05.
    """
    first, second = (only_first + 1) / (images + 2), (only_second + 1) / (images + 2)
    centre = first - second
    half = float(norm.ppf(1 - ALPHA / 2)) * math.sqrt((first + second - centre**2) / (images + 2))
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    discordant = only_first + only_second
    if discordant:
        exact = binomtest(only_first, discordant).proportion_ci(1 - ALPHA, "exact")
        scale = discordant / images
        low, high = min(low, (2 * exact.low - 1) * scale), max(high, (2 * exact.high - 1) * scale)
    return low, high


def compare(first: Result, second: Result) -> Comparison | None:
    """Compare two branches on the test images that both predicted; None where they share none."""
    both = tested.shared(first, second)
    both = both[both["label_first"] == both["label_second"]]
    if both.empty:
        return None
    one, other = both["correct_first"].to_numpy(bool), both["correct_second"].to_numpy(bool)
    alone = int(np.sum(one & ~other)), int(np.sum(other & ~one))
    return Comparison(first, second, len(both), *alone, mcnemar(*alone))


def adjust(comparisons: list[Comparison]) -> list[Comparison]:
    """The same comparisons, p corrected for their number by Holm's step-down procedure (Holm 1979)."""
    adjusted = list(comparisons)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(comparisons)), key=lambda i: comparisons[i].p)):
        running = max(running, min(1.0, comparisons[index].p * (len(comparisons) - rank)))
        adjusted[index] = replace(comparisons[index], p=running)
    return adjusted


def against(chosen: Result, others: list[Result]) -> list[Comparison]:
    """The chosen branch compared with each of the others that shares test images with it, corrected together."""
    pairs = [compare(chosen, other) for other in others if other is not chosen]
    return adjust([pair for pair in pairs if pair is not None])


def beats_majority(result: Result) -> bool:
    """Whether the test accuracy lies, with its whole 95% interval, above always answering the most frequent class."""
    test = result.metrics["test"]
    return bool(test["accuracy_interval"][0] > test["majority_accuracy"])


def judge(results: list[Result]) -> Verdict:
    """Choose on validation, tell on test: the best branch against the best branch of every other model.

    With one model only, its best branch is compared with its second best.
    """
    ranked = by_validation(results)
    chosen = ranked[0]
    best_of_model: dict[str, Result] = {}
    for result in ranked:
        best_of_model.setdefault(result.model, result)
    candidates = [result for model, result in best_of_model.items() if model != chosen.model] or ranked[1:2]
    rivals = against(chosen, candidates)
    return Verdict(_outcome(chosen, candidates, rivals), chosen, rivals)


def _outcome(chosen: Result, candidates: list[Result], rivals: list[Comparison]) -> str:
    if not any(beats_majority(result) for result in [chosen, *candidates]):
        return "chance"
    if not candidates:
        return "single"
    if len(rivals) < len(candidates):
        return "apart"
    if any(rival.shown and rival.difference < 0 for rival in rivals):
        return "reversed"
    return "wins" if all(rival.shown for rival in rivals) else "tie"
