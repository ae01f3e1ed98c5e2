"""The report's figures: learning curves, intervals, confusion matrices; each a function from results to SVG text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.ticker import MaxNLocator

from stages.reporting import readings, recipe
from stages.reporting.palette import INK, MUTED, Palette
from stages.reporting.results import Result
from stages.reporting.shortened import shortened, told_apart
from stages.reporting.svg import belong, figure, render

CURVES = {
    "accuracy": {
        "accuracy": "training",
        "val_accuracy": "validation",
        "val_accuracy_recalibrated": "validation, re-estimated BatchNorm",
    },
    "loss": {
        "loss": "training",
        "val_loss": "validation",
        "val_loss_recalibrated": "validation, re-estimated BatchNorm",
    },
}
MOVING = "validation, moving BatchNorm statistics"
LEGIBLE_CLASSES = 12
BRANCH_ROOM, CLASS_ROOM = 38, 14  # characters of a name


def intervals(results: list[Result], palette: Palette) -> str:
    """Test accuracy of every branch with its 95% interval, and the majority-class baseline of its test images."""
    with figure("intervals", 3.5, 0.75 + 0.36 * len(results)) as drawing:
        axes = drawing.add_subplot()
        labels = shortened([result.label for result in results], BRANCH_ROOM)
        for place, (result, label) in enumerate(zip(results, labels, strict=True)):
            test = result.metrics["test"]
            color = palette.color(result.model)
            drawn = [
                *axes.plot(test["accuracy_interval"], [place, place], color=color, linewidth=2.2, solid_capstyle="round"),
                *axes.plot(test["accuracy"], place, palette.marker(result.model), color=color, markersize=6),
                *axes.plot(test["majority_accuracy"], place, "|", color=MUTED[0], markersize=7, markeredgewidth=1.2),
            ]
            name = axes.annotate(
                f"{result.number}  {label}", (0, place), xytext=(0, 5), textcoords="offset points",
                xycoords=("axes fraction", "data"), va="bottom", color=INK[0], in_layout=False,
            )  # fmt: skip
            belong(result.number, [*drawn, name])
        axes.set(xlim=(0, 1.01), ylim=(len(results) - 0.4, -0.95), yticks=[], xlabel="test accuracy; | majority class")
        axes.spines["left"].set_visible(False)
        axes.grid(False, axis="y")
        return render(drawing, readings.intervals(axes, results))


def learning_curves(result: Result, palette: Palette, loss_limit: float | None = None) -> str:
    """Accuracy above, loss below, one line a curve by its own name; phases and the epoch that was chosen are marked.

    `loss_limit` ends the loss axis (a diverged epoch must not flatten the rest); the same for all branches of a report.
    """
    recalibrated = "val_accuracy_recalibrated" in result.history
    with figure(f"curves-{result.slug}", 3.5, 3.9 + 0.17 * recalibrated) as drawing:
        top, bottom = drawing.subplots(2, 1, sharex=True)
        for axes, measure in ((top, "accuracy"), (bottom, "loss")):
            _curves(axes, result, palette, measure)
            recipe.mark_phases(axes, result, named=axes is top)
            axes.set_ylabel(measure)
        top.set(ylim=(-0.02, 1.02), yticks=(0, 0.25, 0.5, 0.75, 1))
        bottom.set_ylim(0, loss_limit)
        bottom.set_xlabel("epoch")
        bottom.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        handles, labels = top.get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower left")
        return render(drawing, readings.epochs(top, result, CURVES))


def _curves(axes: Axes, result: Result, palette: Palette, measure: str) -> None:
    color = palette.color(result.model)
    columns = {column: name for column, name in CURVES[measure].items() if column in result.history}
    if len(columns) == 3:
        columns[list(columns)[1]] = MOVING
    looks: dict[str, dict[str, Any]] = {
        "training": {"color": MUTED[0], "linestyle": (0, (4, 2))},
        MOVING: {"color": color, "linestyle": (0, (1, 1.2)), "linewidth": 1.3},
    }
    for column, name in columns.items():
        look: dict[str, Any] = {"color": color} | looks.get(name, {})
        axes.plot(result.history["epoch"], result.history[column], label=name, **look)
    _mark_chosen_epoch(axes, result, list(columns)[-1], palette)


def _mark_chosen_epoch(axes: Axes, result: Result, watched: str, palette: Palette) -> None:
    chosen = result.training.get("epoch_chosen")
    row = result.history[result.history["epoch"] == chosen]
    if chosen is None or row.empty:
        return
    axes.axvline(chosen, color=MUTED[0], linewidth=0.8)
    look: dict[str, Any] = {"color": palette.color(result.model), "markersize": 6, "linestyle": "none"}
    axes.plot(chosen, row[watched].iloc[0], palette.marker(result.model), label=f"epoch {chosen}, chosen", **look)


def confusion(result: Result, palette: Palette) -> str:
    """Confusion matrix of the test images, rows the true class, shaded by share of the row, counts in the cells."""
    counts = np.asarray(result.metrics["test"]["confusion"])
    classes = told_apart(result.metrics["classes"], CLASS_ROOM)
    legible = len(classes) <= LEGIBLE_CLASSES
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with figure(f"confusion-{result.slug}", 3.5, 3.4) as drawing:
        axes = drawing.add_subplot()
        sns.heatmap(
            pd.DataFrame(shares, index=classes, columns=classes), ax=axes, square=True, cbar=False, vmin=0, vmax=1,
            cmap=_shades(palette.color(result.model)), annot=np.where(counts > 0, counts, "·") if legible else False, fmt="",
            annot_kws={"color": INK[0], "fontsize": 9}, xticklabels="auto", yticklabels="auto", rasterized=not legible,
        )  # fmt: skip
        axes.set(xlabel="predicted class", ylabel="true class")
        axes.tick_params(length=0)
        axes.grid(False)
        return render(drawing, readings.cells(axes, result.metrics["classes"], counts))


def _shades(color: str) -> LinearSegmentedColormap:
    """From nothing to the colour at 50%: ink stays readable on every shade of it, on white and on black."""
    return LinearSegmentedColormap.from_list("shades", [(*to_rgb(color), 0.0), (*to_rgb(color), 0.5)])


def loss_limit(results: list[Result]) -> float:
    """Where the loss axes end: above every loss but the wildest tenth."""
    losses = np.concatenate([result.history.filter(regex="^(val_)?loss").to_numpy(float).ravel() for result in results])
    losses = losses[np.isfinite(losses)]
    return float(np.quantile(losses, 0.9) * 1.15) or 1.0 if losses.size else 1.0
