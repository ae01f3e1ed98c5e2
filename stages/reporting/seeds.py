"""Several seeds: trainings that differ in nothing else are one network, which is chosen and told by their mean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from stages.reporting.results import Result, by_validation

SEEDED = ("preprocess", "build", "train")  # augmentation, random weights, all else that a training draws
FINEST = 10**9  # share of images: any of some million images is found again in its float
SAME = ("stage", "params", "files", "keras")  # parts of a stage's key that seeds leave as they are


@dataclass(frozen=True, eq=False)
class Group:
    """The trainings of one network, each with another seed; most often one.

    `axis` is the axis of the matrix that sets the seed; None where there is none.
    """

    results: tuple[Result, ...]  # in the order of the branches
    axis: str | None = None

    @cached_property
    def lead(self) -> Result:
        """The training that is best on validation: the one to predict with."""
        return by_validation(list(self.results))[0]

    @property
    def several(self) -> bool:
        return len(self.results) > 1

    @property
    def number(self) -> int:
        return self.results[0].number

    @property
    def numbers(self) -> str:
        """The branches' numbers: `2`, `1-3` with a dash, `1, 4`."""
        numbers = [result.number for result in self.results]
        if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
            return f"{numbers[0]}\N{EN DASH}{numbers[-1]}"
        return ", ".join(map(str, numbers))

    @property
    def model(self) -> str:
        return self.lead.model

    @property
    def name(self) -> str:
        """The network in words, without the seed where there are several trainings."""
        return self.lead.named(but=self.axis) if self.several else self.lead.name

    @property
    def label(self) -> str:
        """The branches' label without the seed."""
        values = [str(value) for axis, value in self.lead.axes.items() if axis != self.axis]
        return (",".join(values) or self.lead.backbone) if self.several else self.lead.label

    @cached_property
    def by_seed(self) -> dict[Any, Result]:
        """The trainings by their value of the seed's axis."""
        return {result.axes.get(self.axis or ""): result for result in self.results}

    def mean(self, split: str, metric: str) -> float:
        """A metric's mean over the seeds, equal where their values have the same sum; infinite where one training has none."""
        values = [result.metrics[split].get(metric) for result in self.results]
        if None in values:
            return float("inf")
        shares = [Fraction(value).limit_denominator(FINEST) for value in values]  # floats' sum would depend on their order
        return float(sum(shares) / len(shares))


def ranked(results: list[Result]) -> list[Group]:
    """The networks, best first: by mean validation accuracy, then by mean validation log loss, then by their order."""

    def rank(group: Group) -> tuple[float, float, int]:
        return -group.mean("validation", "accuracy"), group.mean("validation", "log_loss"), group.number

    return sorted(groups(results), key=rank)


def alone(results: list[Result]) -> list[Group]:
    """Each branch for itself."""
    return [Group((result,)) for result in results]


def groups(results: list[Result]) -> list[Group]:
    """Trainings that differ in nothing but the seed together, where an axis does just that; in the order of the branches."""
    for axis in results[0].axes:
        found: dict[str, list[Result]] = {}
        for result in results:
            found.setdefault(_rest(result, axis), []).append(result)
        if len(found) < len(results) and all(_seeds_apart(group) for group in found.values()):
            return [Group(tuple(group), axis) for group in found.values()]
    return alone(results)


def _rest(result: Result, axis: str) -> str:
    """All that makes a branch but one axis and the seeds of its training."""
    made: dict[str, Any] = {}
    for stage in result.branch.records:
        made[stage] = {part: result.key(stage).get(part) for part in SAME}
        if stage in SEEDED and made[stage]["params"]:
            made[stage]["params"] = {name: value for name, value in made[stage]["params"].items() if name != "seed"}
    return json.dumps([{name: value for name, value in result.axes.items() if name != axis}, made], sort_keys=True, default=str)


def _seeds_apart(group: list[Result]) -> bool:
    """Whether every training of the group has seeds of its own."""
    seeds = [tuple((result.key(stage).get("params") or {}).get("seed") for stage in SEEDED) for result in group]
    return len(set(seeds)) == len(group)
