"""The numbers behind the report's figures, for those who do not see them or want them exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.reporting import tables
from stages.reporting.pareto import Tradeoff
from stages.reporting.results import Result
from stages.reporting.wording import fixed


@dataclass(frozen=True)
class Numbers:
    """A table: its headings, and rows as long as they; a row that shows a branch begins with its result."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def intervals(results: Sequence[Result]) -> Numbers:
    """Test accuracy of every branch with the ends of its interval, and of the majority class."""
    scores = [(result, result.metrics["test"]) for result in results]
    return Numbers(
        ("branch", "test accuracy", "from", "to", "most frequent class"),
        [(result, test["accuracy"], *test["accuracy_interval"], test["majority_accuracy"]) for result, test in scores],
    )


def tradeoff(told: Tradeoff) -> Numbers:
    """A cost and the test accuracy of every branch whose cost was measured."""
    return Numbers(
        ("branch", f"{told.cost.words}, {told.cost.unit}", "test accuracy", "from", "to"),
        [
            (branch.result, branch.cost, branch.accuracy, *branch.result.metrics["test"]["accuracy_interval"])
            for branch in told.priced
        ],
    )


def calibration(result: Result) -> Numbers:
    """The points of the reliability diagram, as trained and at the fitted temperature."""
    told = result.metrics["calibration"]
    names = {"before": "as trained", "after": f"temperature {fixed(told['temperature'], 2)}"}
    return Numbers(
        ("probabilities", "images", "mean probability", "right"),
        [
            (name, part["images"], part["confidence"], part["accuracy"])
            for when, name in names.items()
            for part in told[when]["bins"]
        ],
    )


def finder(phase: Mapping[str, Any]) -> Numbers:
    """Every learning rate that was tried, with the smoothed loss there."""
    found = phase["finder"]
    return Numbers(("learning rate", "smoothed loss"), list(zip(found["rates"], found["losses"], strict=True)))


def mistakes(result: Result, most: int = 100) -> Numbers:
    """The cells beside the diagonal of the confusion matrix that are not empty, the fullest first."""
    support = result.metrics["test"]["per_class"]
    return Numbers(
        ("true class", "predicted class", "images", "share of the true class"),
        [
            (truth, predicted, images, images / support[truth]["support"])
            for truth, predicted, images in tables.confusions(result, most)
        ],
    )
