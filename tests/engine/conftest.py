"""A small project made by the test itself, driven from outside as a person would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

PIPELINE = """
[pipeline]
name = "toy"

[matrix]
model = [{ name = "a", rate = 0.5 }, { name = "b", rate = 2 }]

[stages.load]
run = "stages.load"
[stages.load.params]
source = "data"

[stages.fit]
run = "stages.fit"
needs = ["load"]
[stages.fit.params]
rate = "${model.rate}"
epochs = 8

[stages.report]
run = "stages.report"
needs = ["load", "fit"]
gather = true
"""

LOAD = """
from kpipe.stage import Folder, Stage

def run(stage: Stage, *, source: Folder) -> None:
    words = [p.read_text() for p in sorted(source.iterdir())]
    (stage.out / "words.txt").write_text(" ".join(words))
"""

FIT = '''
"""Fits."""
from kpipe.stage import Stage
from stages.helper import scale

def run(stage: Stage, *, rate: float, epochs: int = 1) -> None:
    stage.measure(speed=rate)
    words = (stage.inputs["load"] / "words.txt").read_text().split()
    (stage.out / "fit.txt").write_text(str(scale(len(words) * rate)) + f" after {epochs}")
'''

HELPER = """
from stages.deep import FACTOR

def scale(x: float) -> float:
    return x * FACTOR
"""

REPORT = """
from kpipe.stage import Stage

def run(stage: Stage) -> None:
    title = stage.resource("title.txt").read_text()
    lines = [b.label + ": " + (b.inputs["fit"] / "fit.txt").read_text() for b in stage.branches if "fit" in b.inputs]
    (stage.out / "report.html").write_text("\\n".join([title, *lines]))
    (stage.out / "figures").mkdir()
    (stage.out / "figures" / "one.svg").write_text("<svg/>")
"""

NOT_INHERITED = ("KERAS_BACKEND", "KPIPE_STORE", "PYTHONDONTWRITEBYTECODE")  # the last: kpipe starts from its .pyc files


@dataclass
class Result:
    """What a command line gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Toy:
    """A pipeline of three keras-free stages in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment: dict[str, str] = {}
        self.write("pipeline.toml", PIPELINE)
        self.write("stages/load.py", LOAD)
        self.write("stages/fit.py", FIT)
        self.write("stages/helper.py", HELPER)
        self.write("stages/deep.py", "FACTOR = 10\n")
        self.write("stages/report.py", REPORT)
        self.write("stages/title.txt", "Toy")
        self.write("data/1.txt", "one")
        self.write("data/2.txt", "two")

    def copy(self, root: Path) -> Self:
        """The project, its store and its reports in another folder, as `cp -a` copies them."""
        shutil.copytree(self.root, root, symlinks=True)
        other = copy(self)
        other.root, other.environment = root, dict(self.environment)
        return other

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        (self.root / name).write_text(text.replace(old, new))

    def command(self, *args: str) -> tuple[list[str], dict[str, str]]:
        environment = {k: v for k, v in os.environ.items() if k not in NOT_INHERITED}
        return [sys.executable, "-m", "kpipe", *args], environment | self.environment

    def kpipe(self, *args: str) -> Result:
        command, environment = self.command(*args)
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=120)
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *args: str) -> subprocess.Popen[str]:
        command, environment = self.command(*args)
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *args: str) -> dict[str, str]:
        """Run to the end; instance -> status."""
        result = self.kpipe("run", "--json", *args)
        assert result.code == 0, result.err
        return {row["instance"]: row["status"] for row in result.json["instances"]}

    def ran(self, *args: str) -> set[str]:
        """Instances that a run did not take from the cache."""
        return {id_ for id_, status in self.run(*args).items() if status != "cached"}

    @property
    def report(self) -> str:
        return (self.root / "reports" / "toy-tensorflow.html").read_text()


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "project")


ALL = {"load", "fit[a]", "fit[b]", "report"}
