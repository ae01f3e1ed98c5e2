"""Every two networks of a report: the pairs that the page lists, the matrix of all differences, and pairs.csv."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import pandas as pd

from stages.reporting.contrast import images_needed
from stages.reporting.paired import Comparison, adjust, compare
from stages.reporting.resampled import METRICS, with_intervals
from stages.reporting.results import Result, by_validation
from stages.reporting.trainings import Group, alone, ranked
from stages.reporting.wording import decimals, signed

MOST = 50  # networks that are compared with each other: the best on validation
LEGIBLE = 24  # networks in a matrix
LISTED = 10  # pairs in a table


@dataclass(frozen=True, eq=False)
class Pairs:
    """Comparisons of every two of `groups`, the better on validation first, corrected together.

    `left_out` counts the networks that were not compared because there are too many.
    """

    groups: list[Group]
    all: list[Comparison]
    left_out: int = 0

    @cached_property
    def listed(self) -> list[Comparison]:
        """All pairs where they are few; else those of the best network with its closest rivals, the closest first."""
        if len(self.all) <= LISTED:
            return self.all
        own = [pair for pair in self.all if pair.first is self.groups[0]]
        return sorted(own, key=lambda pair: abs(pair.difference))[:LISTED]

    @property
    def legible(self) -> bool:
        """Whether there is a matrix: not of two networks, nor of too many."""
        return 2 < len(self.groups) <= LEGIBLE

    def cell(self, row: Group, column: Group) -> tuple[str, str]:
        """What the matrix shows of accuracy, row minus column, and its tone: more, less, or none where none is shown."""
        pair, sign = self._found.get((row.number, column.number)), 1
        if pair is None:
            pair, sign = self._found.get((column.number, row.number)), -1
        if pair is None:
            return "", "none"
        difference = sign * pair.difference
        text = signed(difference, decimals(pair.images) + 1).replace("0.", ".", 1)
        return text, ("more" if difference > 0 else "less") if pair.shown else "none"

    @cached_property
    def _found(self) -> dict[tuple[int, int], Comparison]:
        return {(pair.first.number, pair.second.number): pair for pair in self.all}


@dataclass(frozen=True, eq=False)
class Compared:
    """Every two networks, and every two branches: the same where no network has several trainings."""

    networks: Pairs
    branches: Pairs

    @property
    def repeated(self) -> bool:
        return self.branches is not self.networks

    @cached_property
    def csv(self) -> str:
        """pairs.csv: one row a pair; empty where there is none."""
        parts = [self.networks, self.branches] if self.repeated else [self.networks]
        rows = [_row(pair) for part in parts for pair in part.all]
        return str(pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")) if rows else ""

    @property
    def in_the_page(self) -> bool:
        """Whether pairs.csv is small enough to lie in the page."""
        return bool(self.csv) and len(self.branches.groups) <= LEGIBLE


def compared(results: list[Result]) -> Compared:
    """Compare every two."""
    networks = every_two(ranked(results))
    several = any(group.several for group in networks.groups)
    return Compared(networks, every_two(alone(by_validation(results))) if several else networks)


def every_two(groups: Sequence[Group]) -> Pairs:
    """Every two of the networks, given best first; with bootstrap intervals where each is one training."""
    chosen = list(groups[:MOST])
    found = [pair for first, second in combinations(chosen, 2) if (pair := compare(first, second))]
    resampled = iter(with_intervals([pair for pair in found if pair.model is None]))
    return Pairs(chosen, adjust([pair if pair.model else next(resampled) for pair in found]), len(groups) - len(chosen))


def _row(pair: Comparison) -> dict[str, Any]:
    low, high = pair.interval
    return {
        "first": pair.first.label,
        "second": pair.second.label,
        "first_branches": pair.first.numbers,
        "second_branches": pair.second.numbers,
        "trainings": pair.trainings,
        "test_images": pair.images,
        "only_first_right": pair.only_first,
        "only_second_right": pair.only_second,
        "accuracy_difference": pair.difference,
        "accuracy_difference_low": low,
        "accuracy_difference_high": high,
        "p": pair.p_alone,
        "p_holm": pair.p,
        "comparisons": pair.family,
        "test_images_needed": images_needed(pair),
        **{column: value for name in METRICS for column, value in _bootstrapped(pair, name).items()},
    }


def _bootstrapped(pair: Comparison, name: str) -> dict[str, float | None]:
    """Of accuracy the bootstrap interval alone: the difference is there already."""
    told = pair.more.get(name)
    low, high = (told.interval if told else None) or (None, None)
    ends = "bootstrap_" if name == "accuracy" else ""
    value = {} if name == "accuracy" else {f"{name}_difference": told.value if told else None}
    return {**value, f"{name}_difference_{ends}low": low, f"{name}_difference_{ends}high": high}
