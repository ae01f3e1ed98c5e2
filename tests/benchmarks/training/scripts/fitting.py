"""What the peers have in common: fit with validation, evaluate on the test split, say how long each epoch took."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import keras

from tests.benchmarks.training.scripts.network import build


class Epochs(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Seconds of each epoch, its validation included."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def asked() -> dict[str, Any]:
    """The task, which is this process's first argument."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    keras.utils.set_random_seed(told["seed"])
    return told


def fit_and_evaluate(told: dict[str, Any], train: Any, validation: Any, test: Any, preprocessed: bool = False) -> None:
    """Train and judge, and write what came of it to the file that is named. A split is batches, or a pair of arrays."""
    network, epochs = build(told, preprocessed), Epochs()
    rest: dict[str, Any] = {"epochs": told["epochs"], "callbacks": [epochs], "verbose": 2}
    history = network.fit(**given(told, train), validation_data=validation, **rest).history
    loss, accuracy = network.evaluate(**given(told, test), verbose=2)
    found = {"epochs": epochs.seconds, "validation": history["val_accuracy"][-1], "test": accuracy, "test_loss": loss}
    Path(told["result"]).write_text(json.dumps(found))


def given(told: dict[str, Any], split: Any) -> dict[str, Any]:
    """A split as arguments of fit and evaluate."""
    if isinstance(split, tuple):
        return {"x": split[0], "y": split[1], "batch_size": told["batch_size"]}
    return {"x": split}
