"""kpipe's peak of resident memory on a data set that is much larger than the one of the comparison."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.training.project import Project, Run
from tests.benchmarks.training.recipes import Task
from tests.benchmarks.training.table import aligned

IMAGES = 20_000
TARGET = "< 2.5 GB"
HEAD = ("what", "pictures", "kpipe, all", "train", "evaluate", "target", "seconds")
MAKE = """
import json, sys
from pathlib import Path
from tests.benchmarks.training.pictures import made_up
made_up(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]))
"""


def measure(tasks: Sequence[Task], number: int, work: Path) -> str:
    """A table of one epoch for every task, on pictures of the task's size."""
    other = number * 3 // 20
    counts = {"train": number - 2 * other, "validation": other, "test": other}
    data = make(work / "pictures", counts, tasks[0].size)
    rows: list[Sequence[str]] = [HEAD]
    for task in (replace(task, data=data, epochs=1) for task in tasks):
        with tempfile.TemporaryDirectory(dir=work) as folder:
            rows.append(row(task, number, Project(Path(folder) / "project", task).run()))
        print(f"  {'  '.join(rows[-1])}", file=sys.stderr, flush=True)
    return "\n".join(aligned(rows))


def row(task: Task, number: int, run: Run) -> tuple[str, ...]:
    """The largest process's peak as the system tells it, and those that the stages measured."""
    bytes_ = (run.result.sample.peak_bytes, *(run.measure("peak_memory_bytes", stage) for stage in ("train", "evaluate")))
    return (task.title, f"{number:,}", *(f"{b / 1e9:.2f} GB" for b in bytes_), TARGET, f"{run.result.seconds:.0f}")


def make(folder: Path, counts: Mapping[str, int], size: int) -> Path:
    """So many pictures a split, of that many pixels a side, made by another process: this one stays small."""
    arguments = [str(folder), json.dumps(counts), str(size)]
    subprocess.run([sys.executable, "-c", MAKE, *arguments], cwd=Path(__file__).resolve().parents[3], check=True)
    return folder
