"""Two networks compared on the same test images, and over the same seeds or folds where there are several."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betaincinv, ndtri

from stages.reporting.results import Result
from stages.reporting.same_images import on_same_images, stacked
from stages.reporting.trainings import Group, repeated
from stages.reporting.two_level import TwoLevel, two_level

ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """A number of the first minus that of the second, with its 95% interval where there is one."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two networks on the same test images; every number is first minus second.

    `only_first` and `only_second` count the images that one of them alone got right, as the mean over `trainings` of each.
    `p_alone` is exact McNemar, of several trainings that of the two-level `model` (`paired_test`); `p` is corrected for `family`
    comparisons (`adjust`). `more` holds differences of other metrics by their name.
    """

    first: Group
    second: Group
    images: int
    trainings: int
    only_first: float
    only_second: float
    interval: tuple[float, float]
    p_alone: float
    p: float
    family: int = 1
    model: TwoLevel | None = None
    more: Mapping[str, Difference] = field(default_factory=dict)

    @property
    def difference(self) -> float:
        """Difference of the two accuracies."""
        return (self.only_first - self.only_second) / self.images

    @property
    def discordance(self) -> float:
        """Share of the images that one of the two alone gets right."""
        return (self.only_first + self.only_second) / self.images

    @property
    def trained_once(self) -> Group | None:
        """The one of the two that has a single training, where the other one has several."""
        return next((group for group in (self.first, self.second) if self.trainings > 1 and not group.several), None)

    @property
    def repeated(self) -> str:
        """What tells the trainings apart: seed, fold, or training."""
        return repeated((self.first, self.second))

    @property
    def shown(self) -> bool:
        """Whether the test set shows a difference at all, in whatever direction."""
        return self.p < ALPHA


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p of McNemar's test: the discordant images are a fair coin if both are equally good (McNemar 1947)."""
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


def paired_interval(only_first: int, only_second: int, images: int) -> tuple[float, float]:
    """95% interval of the difference of two paired proportions, never in conflict with the exact McNemar test.

    The wider of the adjusted Wald interval (Bonett & Price 2012), which covers well, and the exact conditional one
    (Clopper & Pearson 1934, of the discordant images), which leaves out 0 just where McNemar's p is below 0.05.
    """
    first, second = (only_first + 1) / (images + 2), (only_second + 1) / (images + 2)
    centre = first - second
    half = float(ndtri(1 - ALPHA / 2)) * math.sqrt((first + second - centre**2) / (images + 2))
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    if only_first + only_second:
        scale = (only_first + only_second) / images
        least = float(betaincinv(only_first, only_second + 1, ALPHA / 2)) if only_first else 0.0
        most = float(betaincinv(only_first + 1, only_second, 1 - ALPHA / 2)) if only_second else 1.0
        low, high = min(low, (2 * least - 1) * scale), max(high, (2 * most - 1) * scale)
    return low, high


def paired_test(alone: NDArray[np.float64]) -> tuple[tuple[float, float], float, TwoLevel | None]:
    """95% interval of a mean difference and p of none, from (S, N) differences of 1, 0 or -1 in S trainings; with several, the
    two-level model behind them.

    Exact McNemar for one training. Also where several vary neither between seeds nor between images, of which a variance cannot
    be estimated: of the training with the most discordant images, as if there were no other.
    """
    model = two_level(alone) if len(alone) > 1 else None
    if model and model.variance:
        low, high = model.interval()
        return (max(-1.0, low), min(1.0, high)), model.p, model
    least_sure = alone[np.abs(alone).sum(axis=1).argmax()]
    counts = int((least_sure > 0).sum()), int((least_sure < 0).sum())
    return paired_interval(*counts, alone.shape[1]), mcnemar(*counts), model


def compare(first: Group, second: Group) -> Comparison | None:
    """Compare two networks on the test images that all their trainings predicted; None where they share none."""
    ones, others = pairing(first, second)
    tables = on_same_images([*ones, *others])
    images, trainings = len(tables[0]), len(ones)
    if not images:
        return None
    right = stacked(tables, "correct")
    alone = right[:trainings] - right[trainings:]
    counts = [int((sign * alone > 0).sum()) for sign in (1, -1)]
    interval, p, model = paired_test(alone)
    losses = stacked(tables, "loss")
    of_losses = two_level(losses[:trainings] - losses[trainings:]) if model and np.isfinite(losses).all() else None
    return Comparison(
        first, second, images, trainings,
        only_first=counts[0] / trainings if model else counts[0],
        only_second=counts[1] / trainings if model else counts[1],
        interval=interval,
        p_alone=p,
        p=p,
        model=model,
        more={"log_loss": of_means(of_losses)} if of_losses else {},
    )  # fmt: skip


def of_means(model: TwoLevel) -> Difference:
    """A difference of means over seeds and images."""
    return Difference(model.mean, model.interval())


def pairing(first: Group, second: Group) -> tuple[list[Result], list[Result]]:
    """The trainings of both that are compared, one by one: of the same seed or fold, the others in their order.

    The only training of a network is compared with each of the other's.
    """
    shared = [repeat for repeat in first.by_repeat if repeat in second.by_repeat]
    ones, others = ([group.by_repeat[repeat] for repeat in shared] + without(group, shared) for group in (first, second))
    most = max(len(ones), len(others)) if 1 in (len(ones), len(others)) else min(len(ones), len(others))
    return (ones * most)[:most], (others * most)[:most]


def without(group: Group, repeats: list[Any]) -> list[Result]:
    """A network's trainings of other seeds or folds than these."""
    return [result for repeat, result in group.by_repeat.items() if repeat not in repeats]


def adjust(comparisons: list[Comparison]) -> list[Comparison]:
    """The same comparisons, p corrected for their number by Holm's step-down procedure (Holm 1979)."""
    adjusted = list(comparisons)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(comparisons)), key=lambda i: comparisons[i].p_alone)):
        running = max(running, min(1.0, comparisons[index].p_alone * (len(comparisons) - rank)))
        adjusted[index] = replace(comparisons[index], p=running, family=len(comparisons))
    return adjusted
