"""Trains in a process that sees two CPU devices, with one of them and with both: `python -m tests.stages.two_devices FOLDER`.

Prints as JSON, for every training and number of devices: history, weights, measures, notices, digests of what it gave.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

if os.environ["KERAS_BACKEND"] == "jax":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
else:
    import tensorflow as tf

    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage
from stages import evaluate, train
from stages.network import batchnorm, keras_files, parallel
from stages.network.feed import Feed
from tests.stages import tiny

IMAGES = 93  # of which 63 are for training: an odd number
STEADY = {"optimizer": "sgd", "learning_rate": 0.05, "epochs": 2}  # in which rounding does not grow, as it does with Adam
TRAININGS: dict[str, dict[str, Any]] = {
    "shared last batch": {**STEADY, "unfreeze": "all", "batch_size": 18},  # 3 * 18 + 9
    "one image left": {**STEADY, "unfreeze": 4, "batchnorm": "train", "batch_size": 62},
    "recipe": {
        **STEADY,
        "unfreeze": 4,
        "batch_size": 16,
        "pooling": "flatten",
        "units": 8,
        "class_weights": "balanced",
        "label_smoothing": 0.1,
        "layer_decay": 0.5,
        "schedule": "plateau",
        "plateau_patience": 1,
        "epochs": 3,
    },
    "mixed_float16": {**STEADY, "unfreeze": 4, "batch_size": 16, "precision": "mixed_float16"},
    "dropout": {"unfreeze": "all", "dropout": 0.3, "batch_size": 16, "epochs": 3},
}
ALL = parallel.devices()


class CutOff(BaseException):
    """What stands for a kill."""


class Watched(Stage):
    """A stage that is cut off in its second epoch."""

    def progress(self, done: float, total: float, **numbers: float | str) -> None:
        if numbers.get("epoch") == 2:
            raise CutOff


def seen(stage: Stage) -> dict[str, Any]:
    """What a training gave."""
    with (stage.out / "history.csv").open(newline="") as file:
        history = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    network = keras_files.read(stage.out / "model.keras")
    return {
        "history": history,
        "weights": [array.ravel().tolist() for array in network.get_weights()],
        "measures": stage.measures,
        "notices": stage.notices,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in tiny.content(stage.out).items()},
    }


def trained(run: tiny.Run, devices: int, settings: dict[str, Any]) -> Stage:
    """The stage after a training on so many devices."""
    parallel.devices = lambda: ALL[:devices]
    stage = run.stage("train")
    train.run(stage, **settings)
    return stage


def resumed(run: tiny.Run, settings: dict[str, Any]) -> Stage:
    """The same on both devices, cut off on its way."""
    parallel.devices = lambda: ALL
    given = {"inputs": run.inputs, "scratch": run.folder / "resumed", "store": run.folder / "store"}
    with contextlib.suppress(CutOff):
        train.run(Watched(out=run.folder / "cut-off", **given), **settings)
    stage = Stage(out=run.folder / "went-on", **given)
    train.run(stage, **settings)
    return stage


def inferred(pixels: NDArray[np.uint8], devices: int) -> dict[str, Any]:
    """Predictions of all images by a network, and its statistics re-estimated on 62 of them."""
    with parallel.over(ALL[:devices]):
        network = tiny.network("all")
        with parallel.synchronized(network):
            feed = Feed(network, (pixels,))
            mode = batchnorm.batch_mode(network, batchnorm.learning(network))
            estimated = batchnorm.estimate(mode, feed, np.arange(62), 62)
            predicted = feed.predict(np.arange(len(pixels)))
    return {"predicted": predicted.tolist(), "statistics": [part.tolist() for pair in estimated.values() for part in pair]}


def main(folder: Path) -> dict[str, Any]:
    """All that the tests look at."""
    run = tiny.start(folder, images=IMAGES)
    found: dict[str, Any] = {
        name: [seen(trained(run, devices, settings)) for devices in (1, 2)] for name, settings in TRAININGS.items()
    }
    found["again"] = [seen(trained(run, 1, TRAININGS["dropout"]))]
    stage = resumed(run, TRAININGS["dropout"])
    found["resumed"] = [seen(stage)]
    run.inputs["train"] = stage.out
    evaluated = run.run("evaluate", evaluate.run)
    pixels = np.load(run.inputs["ingest"] / "images.npy")
    found["inferred"] = [inferred(pixels, devices) for devices in (1, 2)]
    found["predicted"] = keras_files.read(stage.out / "model.keras").predict(pixels, verbose=0).tolist()
    found["metrics"] = json.loads((evaluated / "metrics.json").read_text())
    return found


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1])), sys.stdout)
