"""A network whose first weights are sure of wrong classes learns on every backend: it is fitted on logits, not on probabilities.

Validation is measured on logits too: cut-off probabilities would give a loss that stands still while training's falls, and early
stopping would end what only begins to learn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects import ROOT

SCALE = "300"  # of features that are below 1: as of a backbone that normalises nothing
LARGE = """
import csv, json, sys
from pathlib import Path
import keras
from stages import train
from stages.network import keras_files
from tests.stages import tiny

run = tiny.start(Path(sys.argv[1]))
path = run.inputs["build"] / "backbone.keras"
backbone = keras.models.load_model(path, compile=False)
x = keras.layers.Rescaling(float(sys.argv[3]), name="large")(backbone.output)  # features as they can be where nothing normalises them
keras_files.write(keras.Model(backbone.input, x, name="tiny"), path)
settings = {"learning_rate": 0.01, **json.loads(sys.argv[2])}
out = run.run("train", train.run, batch_size=16, epochs=20, **settings)
with (out / "history.csv").open() as file:
    rows = [{name: float(row[name]) for name in ("accuracy", "val_loss")} for row in csv.DictReader(file)]
print(json.dumps({name: [row[name] for row in rows] for name in rows[0]} | {
    "change": json.loads((out / "training.json").read_text())["changes"]["probabilities"]}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1}, {"learning_rate": "find"}, {"early_stopping": 2}], ids=str)
def test_it_learns(tmp_path: Path, backend: str, settings: dict[str, object]) -> None:
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", LARGE, str(tmp_path), json.dumps(settings), SCALE]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["change"] > 1e-3 and max(told["accuracy"]) > 0.9, told
