"""kpipe's side: a project of its own with a copy of the stages, run as a person runs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.timing import kpipe, timed
from tests.benchmarks.training.peers import Result
from tests.benchmarks.training.recipes import Task
from tests.projects import copy_stages

PIPELINE = """
[pipeline]
name = "benchmark"

[stages.ingest]
run = "stages.ingest"
[stages.ingest.params]
source     = {source}
image_size = {size}

[stages.preprocess]
run   = "stages.preprocess"
needs = ["ingest"]
[stages.preprocess.params]
model = "{model}"

[stages.build]
run   = "stages.build"
needs = ["preprocess"]
[stages.build.params]
model   = "{model}"
weights = {weights}
seed    = {seed}

[stages.train]
run   = "stages.train"
needs = ["ingest", "preprocess", "build"]
[stages.train.params]
epochs        = {epochs}
batch_size    = {batch_size}
learning_rate = {learning_rate}
unfreeze      = {unfreeze}
pooling       = "{pooling}"
units         = {units}
dropout       = {dropout}
batchnorm     = "{batchnorm}"
seed          = {seed}

[stages.evaluate]
run   = "stages.evaluate"
needs = ["ingest", "preprocess", "build", "train"]
"""


@dataclass(frozen=True)
class Run:
    """One run of kpipe: its result, and for each stage the seconds of its instance and what it measured."""

    result: Result
    seconds: Mapping[str, float]
    measures: Mapping[str, Mapping[str, Any]]

    def measure(self, name: str, stage: str = "train") -> float:
        """A number that a stage measured; zero where it has none."""
        return float(self.measures[stage].get(name) or 0.0)

    @property
    def elsewhere(self) -> float:
        """Seconds that belong to no stage: kpipe's own process, and starting the workers."""
        return self.result.seconds - sum(self.seconds.values())


class Project:
    """A folder with a pipeline file for one task; its store is in it."""

    def __init__(self, folder: Path, task: Task) -> None:
        self.folder = folder
        self.task = task
        copy_stages(folder)
        told = {**task.for_scripts(), "source": json.dumps(str(task.data)), "weights": json.dumps(task.weights)}
        (folder / "pipeline.toml").write_text(PIPELINE.format(**told, batchnorm=task.batchnorm))

    def run(self, **changed: float) -> Run:
        """Everything up to the evaluation, with some parameters of the training changed; what is stored already is reused."""
        settings = [part for name, value in changed.items() for part in ("--set", f"stages.train.params.{name}={value}")]
        sample, said = timed(kpipe(self.folder, "run", *settings, KERAS_BACKEND=self.task.backend))
        rows = {row["stage"]: row for row in self.told(settings)}
        reused = {line.split()[0] for line in said.splitlines() if line.endswith(" cached")}
        metrics = json.loads((self.folder / ".kpipe" / "objects" / rows["evaluate"]["output"] / "metrics.json").read_text())
        validation, test = (metrics[split]["accuracy"] for split in ("validation", "test"))
        return Run(
            Result(sample, sample.seconds, validation, test, self.task.epochs),
            {stage: row["seconds"] for stage, row in rows.items() if stage not in reused},
            {stage: row["measures"] for stage, row in rows.items()},
        )

    def told(self, settings: list[str]) -> list[dict[str, Any]]:
        """What kpipe tells of a run that was just made: everything must come from its store now."""
        command = kpipe(self.folder, "run", "--json", *settings, KERAS_BACKEND=self.task.backend)
        done = subprocess.run(command.arguments, cwd=self.folder, env=command.environment, capture_output=True, text=True)
        rows: list[dict[str, Any]] = json.loads(done.stdout)["instances"]
        if again := [row["instance"] for row in rows if row["status"] != "cached"]:
            raise RuntimeError(f"{', '.join(again)} ran again where nothing had changed\n{done.stderr[-2000:]}")
        return rows
