"""What the report's figures tell under the pointer: for each figure the places in it that have values, with those values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from stages.reporting import summary
from stages.reporting.pareto import Tradeoff
from stages.reporting.results import Result
from stages.reporting.svg import Reading
from stages.reporting.wording import evidence, fixed, plural

MOST_CELLS = 400  # of a confusion matrix


def intervals(axes: Axes, results: Sequence[Result]) -> list[Reading]:
    """One for every row of the figure, which is 1 high and holds the branch's name above its interval."""
    return [
        Reading(
            axes,
            f"{result.number} {result.label}\n{summary.accuracy(result, 'test')}\n"
            f"always the most frequent class {fixed(result.metrics['test']['majority_accuracy'], 2)}",
            y=(place - 0.75, place + 0.25),
            branch=result.number,
        )
        for place, result in enumerate(results)
    ]


def epochs(axes: Axes, result: Result, curves: Mapping[str, Mapping[str, str]]) -> list[Reading]:
    """One for every epoch: where each curve is (`curves`: measure -> column of the history -> its name)."""
    readings = []
    for row in result.history.to_dict("records"):
        values: dict[str, list[str]] = {}
        for columns in curves.values():
            for column, name in columns.items():
                if column in row:
                    values.setdefault(name, []).append(evidence(row[column]))
        lines = [f"epoch {row['epoch']:g}: {', '.join(curves)}", *(f"{name} {', '.join(told)}" for name, told in values.items())]
        readings.append(Reading(axes, "\n".join(lines), x=(row["epoch"] - 0.5, row["epoch"] + 0.5)))
    return readings


def rates(axes: Axes, found: Mapping[str, Any]) -> list[Reading]:
    """One for every learning rate that was tried."""
    tried = np.asarray(found["rates"], float)
    between = np.sqrt(tried[1:] * tried[:-1])
    ends = zip([tried[0], *between], [*between, tried[-1]], strict=True)
    return [
        Reading(axes, f"learning rate {rate:.3g}\nsmoothed loss {evidence(float(loss))}", x=(float(low), float(high)))
        for rate, loss, (low, high) in zip(tried, found["losses"], ends, strict=True)
    ]


def costs(axes: Axes, told: Tradeoff) -> list[Reading]:
    """One for every branch whose cost was measured."""
    return [
        Reading(
            axes,
            f"{branch.result.number} {branch.result.label}\n{summary.accuracy(branch.result, 'test')}\n"
            f"{told.cost.words} {evidence(branch.cost)} {told.cost.unit}",
            x=(branch.cost, branch.cost),
            y=(branch.accuracy, branch.accuracy),
            branch=branch.result.number,
        )
        for branch in told.priced
    ]


def bins(axes: Axes, name: str, parts: Sequence[Mapping[str, Any]]) -> list[Reading]:
    """One for every point of a reliability diagram."""
    return [
        Reading(
            axes,
            f"{name}\n{plural(part['images'], 'image')}: probability {fixed(part['confidence'], 3)}, "
            f"right {fixed(part['accuracy'], 3)}",
            x=(part["confidence"],) * 2,
            y=(part["accuracy"],) * 2,
        )
        for part in parts
    ]


def cells(axes: Axes, classes: Sequence[str], counts: np.ndarray[Any, np.dtype[np.int64]]) -> list[Reading]:
    """One for every cell of a confusion matrix (K, K; rows the true class) that is not empty, the fullest MOST_CELLS of them."""
    full = [(int(row), int(column)) for row, column in np.argwhere(counts)]
    full.sort(key=lambda cell: -counts[cell])
    return [
        Reading(
            axes,
            f"{classes[row]}\nsaid to be {classes[column]}: {counts[row, column]} of {plural(int(counts[row].sum()), 'image')}",
            x=(column, column + 1),
            y=(row, row + 1),
        )
        for row, column in full[:MOST_CELLS]
    ]
