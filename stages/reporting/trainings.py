"""Several trainings of one network, which is chosen and told by their mean: they differ in nothing but the seed, or the fold."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from stages.reporting.results import Result, by_validation

REPEATS = {  # parameters of which another value is another training of the same network
    "preprocess": ("seed",),  # augmentation
    "build": ("seed",),  # random weights
    "train": ("seed", "fold"),  # all else that a training draws; which images validate
}
FINEST = 10**9  # share of images: any of some million images is found again in its float
SAME = ("stage", "params", "files", "keras")  # parts of a stage's key that repeated trainings share


@dataclass(frozen=True, eq=False)
class Group:
    """The trainings of one network; most often one.

    `axes` are those of the matrix that tell them apart, and `repeated` is what these set: "seed", "fold", or "training" for both.
    """

    results: tuple[Result, ...]  # in the order of the branches
    axes: tuple[str, ...] = ()
    repeated: str = "seed"

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
        """The network in words, without what tells several trainings apart."""
        return self.lead.named(but=self.axes) if self.several else self.lead.name

    @property
    def label(self) -> str:
        """The branches' label without what tells several trainings apart."""
        values = [str(value) for axis, value in self.lead.axes.items() if axis not in self.axes]
        return (",".join(values) or self.lead.backbone) if self.several else self.lead.label

    @cached_property
    def by_repeat(self) -> dict[tuple[Any, ...], Result]:
        """The trainings by their values of the axes that tell them apart."""
        return {tuple(result.axes.get(axis) for axis in self.axes): result for result in self.results}

    def images(self, split: str) -> int:
        """How many images the trainings were judged on together: each fold validates its own."""
        judged = {fold(result) if split == "validation" else None: result for result in self.results}
        return sum(result.metrics[split]["images"] for result in judged.values())

    def mean(self, split: str, metric: str) -> float:
        """A metric's mean over the trainings, equal where their values have the same sum; infinite where one has none."""
        values = [result.metrics[split].get(metric) for result in self.results]
        if None in values:
            return float("inf")
        shares = [Fraction(value).limit_denominator(FINEST) for value in values]  # floats' sum would depend on their order
        return float(sum(shares) / len(shares))


def repeated(shown: Collection[Group]) -> str:
    """What networks' trainings are told apart by, in one word: that of all that have several."""
    words = {group.repeated for group in shown if group.several}
    return words.pop() if len(words) == 1 else "training"


def ranked(results: list[Result]) -> list[Group]:
    """The networks, best first: by mean validation accuracy, then by mean validation log loss, then by their order."""

    def rank(group: Group) -> tuple[float, float, int]:
        return -group.mean("validation", "accuracy"), group.mean("validation", "log_loss"), group.number

    return sorted(groups(results), key=rank)


def alone(results: list[Result]) -> list[Group]:
    """Each branch for itself."""
    return [Group((result,)) for result in results]


def groups(results: list[Result]) -> list[Group]:
    """Trainings that differ in nothing but seed and fold together, where axes do just that; in the order of the branches."""
    axes = tuple(axis for axis in results[0].axes if _repeats(results, (axis,)))
    together = _repeats(results, axes) if axes else None
    if not together:
        return alone(results)
    return [Group(tuple(group), axes, _word(group)) for group in together]


def _repeats(results: Sequence[Result], axes: tuple[str, ...]) -> list[list[Result]] | None:
    """The branches that differ in nothing but these axes, seeds and folds, together; None where that is no repeated training."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(_rest(result, axes), []).append(result)
    together = list(found.values())
    return together if len(together) < len(results) and all(map(_apart, together)) else None


def _rest(result: Result, axes: tuple[str, ...]) -> str:
    """All that makes a branch but some axes and what repeats its training."""
    made: dict[str, Any] = {}
    for stage in result.branch.records:
        made[stage] = {part: result.key(stage).get(part) for part in SAME}
        if params := made[stage]["params"]:
            made[stage]["params"] = {name: value for name, value in params.items() if name not in REPEATS.get(stage, ())}
    kept = {name: value for name, value in result.axes.items() if name not in axes}
    return json.dumps([kept, made], sort_keys=True, default=str)


def _apart(group: Sequence[Result]) -> bool:
    """Whether every training of the group has seeds or a fold of its own."""
    return len({_repeat(result) for result in group}) == len(group)


def _word(group: Sequence[Result]) -> str:
    """What tells these trainings apart."""
    folds = len({fold(result) for result in group})
    return "seed" if folds == 1 else "fold" if folds == len(group) else "training"


def _repeat(result: Result) -> tuple[Any, ...]:
    """The seeds and the fold of its training."""
    return tuple(result.parameter(stage, name) for stage, names in REPEATS.items() for name in names)


def fold(result: Result) -> Any:
    """The fold that validated its training; None where there is none."""
    return result.parameter("train", "fold")
