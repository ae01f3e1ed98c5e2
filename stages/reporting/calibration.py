"""Calibration in the report: the reliability diagram of a branch, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.reporting import readings
from stages.reporting.palette import MUTED, Palette
from stages.reporting.results import Result
from stages.reporting.svg import Reading, figure, render
from stages.reporting.wording import fixed, plural

FAR = 0.05  # calibration error above which probabilities should not be read as such


def reliability(result: Result, palette: Palette) -> str:
    """Accuracy of the test images against the probability they were named with, as it is and at the fitted temperature."""
    told = result.metrics["calibration"]
    with figure(f"calibration-{result.slug}", 3.5, 3.0) as drawing:
        axes = drawing.add_subplot()
        axes.plot([0, 1], [0, 1], color=MUTED[0], linewidth=0.8, linestyle=(0, (4, 2)))
        looks: dict[str, dict[str, Any]] = {
            "before": {"color": palette.color(result.model), "marker": palette.marker(result.model), "markersize": 5},
            "after": {"color": MUTED[0], "marker": ".", "markersize": 5, "linestyle": (0, (1, 1.2))},
        }
        found: list[Reading] = []
        for name, label in (("before", "as trained"), ("after", f"temperature {fixed(told['temperature'], 2)}")):
            bins = told[name]["bins"]
            points = [part["confidence"] for part in bins], [part["accuracy"] for part in bins]
            axes.plot(*points, label=label, linewidth=1.3, **looks[name])
            found += readings.bins(axes, label, bins)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="probability of the class that is named", ylabel="share that is right")
        axes.legend(loc="upper left")
        return render(drawing, found)


def verdict(result: Result) -> str:
    """What a reader may do with the probabilities: nothing is said against them that a calibrated network would show too."""
    told = result.metrics["calibration"]["before"]
    error, usual = told["error"], told["calibrated"]
    off = f"off by {fixed(error, 3)} on average"
    images = plural(sum(part["images"] for part in told["bins"]), "test image")
    like = f"those of a calibrated network would be by {fixed(usual['error'], 3)} on {images}"
    if error <= FAR:
        return f"Probabilities may be read as such: they are {off}; {like}."
    if error <= usual["error_95"]:
        return f"No miscalibration is shown: probabilities are {off}; {like}, by chance up to {fixed(usual['error_95'], 3)}."
    return f"{subject(told)} are {off}; {like}. {remedy(result)}"


def subject(told: Mapping[str, Any]) -> str:
    """Whose error it is, with its direction where the test images show one, and errors to either side do not cancel."""
    if abs(told["gap"]) <= told["calibrated"]["gap_95"]:
        return "The network's probabilities"
    return f"The network is {'too sure' if told['gap'] > 0 else 'not sure enough'}: its probabilities"


def remedy(result: Result) -> str:
    """What the temperature that was fitted on validation does to the test images."""
    told = result.metrics["calibration"]
    by, before, after = fixed(told["temperature"], 2), told["before"], told["after"]
    if told["limited"]:
        return f"Validation tells no temperature: its loss is smallest at {by}, the last one that was tried."
    loss = f"log loss {fixed(after['log_loss'], 3)} instead of {fixed(before['log_loss'], 3)}"
    if after["error"] < before["error"] and after["log_loss"] < before["log_loss"]:
        return f"Dividing the logits by {by}, as fitted on validation, brings that to {fixed(after['error'], 3)} ({loss})."
    return f"Dividing the logits by {by}, as fitted on validation, does not mend that: off by {fixed(after['error'], 3)}, {loss}."
