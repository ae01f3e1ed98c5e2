"""The figure of test accuracy against a cost, with the Pareto front and every branch by its number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from stages.reporting import placing, readings
from stages.reporting.palette import INK, MUTED, Palette
from stages.reporting.pareto import Priced, Tradeoff
from stages.reporting.placing import Boxes, Points
from stages.reporting.svg import belong, figure, render

WIDE = 10.0  # how many times the least cost the greatest one is where the axis becomes logarithmic
MARKER, DIGIT, LINE = 6.5, 5.8, 10.5  # points: a marker's size, a digit's width, a line's height
NEAR = 13.0  # points from a marker to the middle of its label where no line need join the two
FRONT: dict[str, Any] = {"color": MUTED[0], "linewidth": 1.0, "linestyle": (0, (4, 2))}
LEADER: dict[str, Any] = {"arrowstyle": "-", "color": MUTED[0], "linewidth": 0.6, "shrinkA": 1, "shrinkB": MARKER / 2}


def draw(tradeoff: Tradeoff, palette: Palette) -> str:
    """Test accuracy with its interval against a cost; filled where no other branch is as good for less."""
    cost, drawn, best = tradeoff.cost, tradeoff.priced, tradeoff.best
    with figure(cost.name, 4.6, 3.8) as drawing:
        axes = drawing.add_subplot()
        for branch in drawn:
            point(axes, branch, palette, filled=branch in best)
        scale(axes, [branch.cost for branch in drawn])
        axes.set(xlabel=f"{cost.words}, {cost.unit}", ylabel="test accuracy with 95% interval")
        staircase(axes, best)
        drawing.legend(handles=legend(dominated=len(best) < len(drawn)), loc="outside lower left", ncols=2)
        drawing.draw_without_rendering()  # settles where the axes lie
        number(axes, tradeoff.numbered, *obstacles(axes, drawn, best))
        return render(drawing, readings.costs(axes, tradeoff))


def point(axes: Axes, branch: Priced, palette: Palette, *, filled: bool) -> None:
    """A branch's marker and the interval of its accuracy."""
    color, interval = palette.color(branch.result.model), branch.result.metrics["test"]["accuracy_interval"]
    drawn = axes.plot([branch.cost, branch.cost], interval, color=color, linewidth=1.4 if filled else 0.7)
    look: dict[str, Any] = {"color": color, "markersize": MARKER, "fillstyle": "full" if filled else "none"}
    drawn += axes.plot(branch.cost, branch.accuracy, palette.marker(branch.result.model), linestyle="none", zorder=3, **look)
    belong(branch.result.number, drawn)


def scale(axes: Axes, costs: list[float]) -> None:
    """From zero, or logarithmic where the costs differ by a factor of more than WIDE."""
    axes.margins(x=0.1, y=0.08)
    if max(costs) > WIDE * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(costs) < 300 * min(costs) else (1,)))
        axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, 1.08 * max(costs))


def staircase(axes: Axes, best: list[Priced]) -> None:
    """The accuracy that can be had for at most that cost."""
    right = axes.get_xlim()[1]
    steps = [(branch.cost, branch.accuracy) for branch in best] + [(right, best[-1].accuracy)]
    axes.plot(*zip(*steps, strict=True), drawstyle="steps-post", **FRONT)
    axes.set_xlim(right=right)


def legend(*, dominated: bool) -> list[Line2D]:
    """What the line and the two kinds of markers mean."""
    marker: dict[str, Any] = {"color": INK[0], "marker": "o", "markersize": MARKER}
    line = Line2D([], [], label="not dominated", **(FRONT | marker))
    hollow = Line2D([], [], label="dominated", linestyle="none", fillstyle="none", **marker)
    return [line, hollow] if dominated else [line]


def number(axes: Axes, numbered: list[Priced], solid: Boxes, thin: Boxes) -> None:
    """Write the branches' numbers beside their markers; farther off, with a line to them, where it is crowded."""
    texts = [str(branch.result.number) for branch in numbered]
    sizes = np.array([(DIGIT * len(text) + 3, LINE) for text in texts])
    markers = in_points(axes, [(branch.cost, branch.accuracy) for branch in numbered])
    room = in_points(axes, list(zip(axes.get_xlim(), axes.get_ylim(), strict=True))).reshape(1, 4)
    offsets = placing.place(markers, sizes, room, solid, thin) - markers
    for text, branch, offset in zip(texts, numbered, offsets, strict=True):
        far = np.hypot(*offset) > NEAR + DIGIT / 2 * (len(text) - 1)
        label = axes.annotate(
            text, (branch.cost, branch.accuracy), xytext=tuple(offset), textcoords="offset points", ha="center", va="center",
            in_layout=False, zorder=4, arrowprops=LEADER if far else None,
        )  # fmt: skip
        belong(branch.result.number, [label], "label")


def obstacles(axes: Axes, drawn: list[Priced], best: list[Priced]) -> tuple[Boxes, Boxes]:
    """What labels must not cover, the markers, and what they had better not, the intervals and the front."""
    markers = placing.around(in_points(axes, [(branch.cost, branch.accuracy) for branch in drawn]), (MARKER, MARKER))
    intervals = [[(branch.cost, end) for end in branch.result.metrics["test"]["accuracy_interval"]] for branch in drawn]
    rights = [*(branch.cost for branch in best[1:]), axes.get_xlim()[1]]
    steps = [[(branch.cost, branch.accuracy), (right, branch.accuracy)] for branch, right in zip(best, rights, strict=True)]
    lower, upper = (in_points(axes, ends) for ends in zip(*intervals, *steps, strict=True))
    return markers, np.hstack([lower - 0.5, upper + 0.5])


def in_points(axes: Axes, places: Sequence[tuple[float, float]]) -> Points:
    """Data coordinates in points from the figure's corner."""
    return np.asarray(axes.transData.transform(places), float) * 72 / axes.figure.dpi
