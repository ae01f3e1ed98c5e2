"""One task on both sides: kpipe, a second experiment with it, and each peer, in turn."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.training import peers, pictures, table
from tests.benchmarks.training.arithmetic import Work
from tests.benchmarks.training.peers import Result, script
from tests.benchmarks.training.project import Project
from tests.benchmarks.training.recipes import Task


def compare(task: Task, letters: Sequence[str], short: bool, work: Path) -> str:
    """The task's table. RuntimeError where one of the processes fails."""
    print(task.title, file=sys.stderr, flush=True)
    arithmetic = count(task, work)  # imports Keras and this backend: kpipe, which comes first, finds them in the system's memory
    peaks = [matrix_product(task, work)]
    with tempfile.TemporaryDirectory(dir=work) as folder:
        project = Project(Path(folder) / "project", task)
        first = project.run()
        say("kpipe", first.result)
        second = project.run(**task.recipe.second)
        say("kpipe, second experiment", second.result)
    peaks.append(matrix_product(task, work))
    found: dict[str, Result] = {}
    for letter in letters:
        found[letter] = peers.run(letter, task, work, short)
        say(f"({letter})", found[letter])
    return f"{task.title}\n\n{table.of_task(first, second, found, arithmetic, max(peaks))}\n"


def count(task: Task, work: Path) -> Work:
    """The arithmetic of the task."""
    _, counted = script("flops", task.backend, task.for_scripts(), work)
    return Work(counted["prefix"], counted["tail"], counted["backward"], pictures.count(task.data), task.epochs)


def matrix_product(task: Task, work: Path) -> float:
    """FLOP/s of a float32 matrix product, numpy's or the backend's; measured twice, since others may be computing too."""
    _, rates = script("matmul", task.backend, task.for_scripts(), work)
    return float(max(rates.values()))


def say(name: str, result: Result) -> None:
    """How long it took."""
    print(f"  {name}: {result.seconds:.1f} s{' (extrapolated)' if result.extrapolated else ''}", file=sys.stderr, flush=True)
