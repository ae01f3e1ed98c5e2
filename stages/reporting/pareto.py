"""Which branches are worth their cost: the Pareto front of test accuracy and one cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stages.reporting.results import Result


@dataclass(frozen=True)
class Cost:
    """A measure that is the better the smaller it is."""

    name: str  # of its figure
    stage: str
    measure: str
    words: str
    unit: str
    factor: float = 1.0  # from the measure to the unit


@dataclass(frozen=True)
class Priced:
    """A branch with its cost, in the cost's unit."""

    result: Result
    cost: float

    @property
    def accuracy(self) -> float:
        return float(self.result.metrics["test"]["accuracy"])


NUMBERED = 40  # branches that a figure has room to show by number
COSTS = (
    Cost("costs-latency", "evaluate", "latency_batch_1_seconds", "latency of one image", "ms", 1000.0),
    Cost("costs-training", "train", "train_seconds", "training time", "seconds"),
)


@dataclass(frozen=True)
class Tradeoff:
    """Test accuracy against one cost: the branches whose cost is known, those that no other dominates (cheapest first),
    and the numbers of the branches whose cost was not measured."""

    cost: Cost
    priced: list[Priced]
    best: list[Priced]
    absent: list[int]

    @property
    def numbered(self) -> list[Priced]:
        """The branches that the figure shows by number, those that matter most first: of very many only those."""
        others = [branch for branch in self.priced if branch not in self.best]
        return self.best + (others if len(self.priced) <= NUMBERED else [])


def tradeoffs(results: list[Result]) -> list[Tradeoff]:
    """One for each cost that is known of several branches."""
    told = [tradeoff(results, cost) for cost in COSTS]
    return [one for one in told if len(one.priced) > 1]


def tradeoff(results: list[Result], cost: Cost) -> Tradeoff:
    """The branches by their accuracy and that cost."""
    values = [(result, result.measure(cost.stage, cost.measure)) for result in results]
    priced = [Priced(result, value * cost.factor) for result, value in values if value]
    best = [priced[index] for index in not_dominated([(branch.cost, branch.accuracy) for branch in priced])]
    return Tradeoff(cost, priced, best, [result.number for result, value in values if not value])


def not_dominated(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (cost, quality) that no other one dominates, cheapest first.

    A point dominates another where it costs no more, is no worse, and is not equal to it.
    """
    found: list[int] = []
    best = (math.inf, -math.inf)
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if points[index][1] > best[1] or points[index] == best:
            best = points[index]
            found.append(index)
    return found
