"""Scores of a network: those of its one training, or their mean over several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stages.reporting.results import Result
from stages.reporting.same_images import on_same_images, stacked
from stages.reporting.trainings import Group
from stages.reporting.two_level import TwoLevel, two_level


def scores(shown: Result | Group, split: str) -> Mapping[str, Any]:
    """The scores of one split as evaluate tells them; of several trainings the mean accuracy, and on test its interval."""
    if isinstance(shown, Result):
        return dict(shown.metrics[split])
    if not shown.several:
        return dict(shown.lead.metrics[split])
    majority = shown.results[0].metrics[split]["majority_accuracy"]
    told = {"images": shown.images(split), "majority_accuracy": majority, "accuracy": shown.mean(split, "accuracy")}
    return told | {"accuracy_interval": over_trainings(shown).share_interval()} if split == "test" else told


def network_columns(groups: Sequence[Group]) -> dict[int, dict[str, Any]]:
    """For the table of all branches, by the branch's number: what its network reaches over several trainings."""
    return {
        result.number: {
            "trainings": len(group.results),
            "mean_test_accuracy": model.mean,
            "mean_test_accuracy_low": model.share_interval()[0],
            "mean_test_accuracy_high": model.share_interval()[1],
            "sd_between_trainings": model.between_seeds,
            "sd_between_test_sets": model.between_tests,
            "mean_validation_accuracy": group.mean("validation", "accuracy"),
        }
        for group in groups
        if group.several
        for model in [over_trainings(group)]
        for result in group.results
    }


def over_trainings(group: Group) -> TwoLevel:
    """What the trainings and the test images contribute to the test accuracy of one of several trainings."""
    return two_level(stacked(on_same_images(group.results), "correct"))
