"""Calibration in the report: the reliability diagram of a branch, and its numbers."""

from __future__ import annotations

from typing import Any

from stages.reporting import readings
from stages.reporting.palette import MUTED, Palette
from stages.reporting.results import Result
from stages.reporting.svg import Reading, figure, render
from stages.reporting.wording import fixed

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
    """What a reader may do with the probabilities, in a sentence."""
    told = result.metrics["calibration"]
    before, after = told["before"]["error"], told["after"]["error"]
    if before <= FAR:
        return f"Probabilities may be read as such: they are off by {before:.3f} on average."
    sure = "too sure" if told["temperature"] > 1 else "not sure enough"
    mended = (
        f"dividing the logits by {told['temperature']:.2f} brings that to {after:.3f}"
        if after < before
        else "no temperature mends that"
    )
    return f"The network is {sure}: its probabilities are off by {before:.3f} on average; {mended}."
