"""What it costs to plan very many instances: a matrix of two axes and four stages, with nothing run and with all cached."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

from tests.benchmarks.projects import Toy, write_project
from tests.benchmarks.table import Row
from tests.benchmarks.timing import SETTLE_S, Side, interleaved, kpipe, timed

NAMES = ("load", "prepare", "fit", "score")
PARAMS = {"rate": "${rate}", "seed": "${seed}"}
TARGET = "< 2 s, < 150 MB"


def chain() -> list[Toy]:
    """Four stages, each with the one before it as its need and an instance for every combination."""
    return [Toy(NAMES[0], (), PARAMS), *(Toy(name, (need,), PARAMS) for need, name in pairwise(NAMES))]


def matrix(values: int) -> str:
    """Two axes of so many values each."""
    axes = {axis: [f"{axis}{number:03}" for number in range(values)] for axis in ("rate", "seed")}
    return "[matrix]\n" + "".join(f"{axis} = {names}\n" for axis, names in axes.items())


def measure(folder: Path, values: int, repetitions: int) -> list[Row]:
    """Rows for plan with an empty store, plan with a full one, and a no-op run. The full one is filled by a real run."""
    count = values * values * len(NAMES)
    write_project(folder, chain(), matrix(values))
    empty, full = ({"KPIPE_STORE": str(folder / name)} for name in (".kpipe-empty", ".kpipe-full"))
    filled, _ = timed(kpipe(folder, "run", "--jobs", "2", **full))
    time.sleep(SETTLE_S)
    sides = {
        "nothing run yet": Side(kpipe(folder, "plan", **empty), "not run before", count),
        "everything cached": Side(kpipe(folder, "plan", **full), " cached", count),
        "no-op run": Side(kpipe(folder, "run", **full), " cached", count),
    }
    found = interleaved(sides, repetitions)
    size = f"{count:,} instances"
    return [
        Row("kpipe plan, nothing run yet", size, found["nothing run yet"], TARGET),
        Row("kpipe plan, everything cached", size, found["everything cached"], TARGET),
        Row("kpipe run, everything cached", size, found["no-op run"]),
        Row("kpipe run --jobs 2, filling the store (once)", size, [filled]),
    ]
