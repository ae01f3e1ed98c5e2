"""The Keras scripts that are compared with, each in a fresh process."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.timing import Command, Sample, environment, timed
from tests.benchmarks.training.recipes import Task

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = "tests.benchmarks.training.scripts"
PEERS = {  # letter -> script, what it is
    "a": ("directory", "image_dataset_from_directory + fit"),
    "b": ("cached", "the same, decoded pictures cached"),
    "c": ("generator", "ImageDataGenerator + fit"),
    "d": ("arrays", "pictures in arrays + fit"),
}
SHORT = 2  # epochs


@dataclass(frozen=True)
class Result:
    """One training, from the start of its process to the end of its evaluation."""

    sample: Sample
    seconds: float  # the sample's, or as many as all epochs would take
    validation: float  # accuracies after the epochs that were run
    test: float
    epochs: int  # that were run
    extrapolated: bool = False


def script(name: str, backend: str, told: Mapping[str, Any], work: Path) -> tuple[Sample, Any]:
    """Run one of the scripts; how long it took, and what it wrote."""
    result = work / f"{name}.json"
    arguments = (sys.executable, "-m", f"{SCRIPTS}.{name}", json.dumps({**told, "result": str(result)}))
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2"}
    sample, _ = timed(Command(arguments, ROOT, environment(KERAS_BACKEND=backend, **quiet)))
    return sample, json.loads(result.read_text())


def run(letter: str, task: Task, work: Path, short: bool) -> Result:
    """Train by a peer's script; with `short` two epochs, and the others taken to be like the second."""
    epochs = min(task.epochs, SHORT) if short else task.epochs
    sample, found = script(PEERS[letter][0], task.backend, {**task.for_scripts(), "epochs": epochs}, work)
    seconds = extrapolated(sample.seconds, found["epochs"], task.epochs)
    return Result(sample, seconds, found["validation"], found["test"], epochs, epochs < task.epochs)


def extrapolated(seconds: float, epochs: list[float], wanted: int) -> float:
    """Seconds of a run with so many epochs: what was spent outside epochs, the first one, and the others like the last one."""
    return seconds + (wanted - len(epochs)) * epochs[-1]
