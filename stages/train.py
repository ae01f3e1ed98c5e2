"""Train a head on the backbone, and the last layers of the backbone with it."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage
from stages import json_files
from stages.augment import recipe_from_json
from stages.data.labels import Labels, sample
from stages.network import activations as prefix
from stages.network import batchnorm as statistics
from stages.network import device, head, keras_files
from stages.network.batches import AugmentedFeed, Batches
from stages.network.feed import BATCH, Feed
from stages.network.fitting import Fitted, Recalibration, Row, Validation, fit

LOSS = "sparse_categorical_crossentropy"  # categorical cross-entropy of class indices
OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
}


def run(
    stage: Stage,
    *,
    epochs: Annotated[int, "1 <= epochs"] = 10,
    batch_size: Annotated[int, "1 <= batch_size"] = 32,
    learning_rate: Annotated[float, "0 < learning_rate"] = 1e-3,
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam",
    unfreeze: Annotated[int, "0 <= unfreeze"] | Literal["all"] = 0,
    pooling: Literal["avg", "flatten"] = "avg",
    units: Annotated[int, "0 <= units"] = 0,
    dropout: Annotated[float, "0 <= dropout < 1"] = 0.0,
    batchnorm: Literal["auto", "frozen", "train", "recalibrate"] = "auto",
    early_stopping: Annotated[int, "0 <= early_stopping"] = 0,
    activations: Literal["float32", "off"] = "float32",
    seed: Annotated[int, "0 <= seed < 4294967296"] = 0,
) -> None:
    """Write model.keras (uint8 RGB pixels in, probabilities out), history.csv and training.json.

    `unfreeze`: how many of the backbone's last layers learn. `batchnorm`, of the unfrozen BatchNormalization layers:
    "frozen" keeps them in inference mode, "train" is plain Keras, "recalibrate" re-estimates their statistics after every
    epoch, "auto" recalibrates where there are any. `early_stopping`: epochs without a better validation loss (0: never).
    `activations`: whether those of the frozen layers are stored and reused.
    """
    clock = Clock()
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    computes_on = device.prepare()
    labels = Labels(stage.inputs["ingest"])
    layers = json_files.read(stage.inputs["build"] / "layers.json")["backbone_layers"]
    backbone = keras_files.read(stage.inputs["build"] / "backbone.keras")
    network = head.attach(backbone, classes=len(labels.classes), pooling=pooling, units=units, dropout=dropout)
    unfrozen = head.unfreeze(network, layers, unfreeze, batchnorm=batchnorm != "frozen")
    learning = statistics.learning(network)
    used = batchnorm_used(batchnorm, network, learning)

    cut = prefix.frontier(network, layers) if activations != "off" else []
    feeds = Feeds.prepare(stage, network, cut)
    clock.lap("prefix_seconds")
    train_rows = labels.rows("train")
    batches = Batches(feeds.training, labels.index, train_rows, batch_size, seed)
    feeds.training.model.compile(OPTIMIZERS[optimizer](learning_rate), loss=LOSS, metrics=["accuracy"])
    fitted = fit(
        network,
        batches,
        Validation(feeds.validation, labels.rows("validation"), labels.index),
        recalibration(feeds.plain, learning, train_rows, seed) if used == "recalibrate" else None,
        epochs=epochs,
        patience=early_stopping,
        progress=stage.progress,
    )
    clock.lap("train_seconds")

    keras_files.write(network, stage.out / "model.keras")
    write_history(stage.out / "history.csv", fitted.history, learning_rate)
    json_files.write(
        stage.out / "training.json",
        {
            **sizes(network),
            "classes": labels.classes,
            "unfreeze": unfreeze,
            "unfrozen_layers": unfrozen,
            "frozen_prefix": {"cut": cut, "layers": prefix.depth(network, cut)} if cut else None,
            "batchnorm": {"asked": batchnorm, "used": used, "layers": len(learning), "names": learning},
            "loss": LOSS,
            "optimizer": optimizer,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "seed": seed,
            "epochs_run": len(fitted.history),
            "epoch_chosen": fitted.chosen,
            "watched": fitted.watched,
            "steps_per_epoch": len(batches),
        },
    )
    stage.measure(
        **clock.laps, **speed(fitted, len(train_rows)), device=computes_on, peak_memory_bytes=device.peak_memory_bytes()
    )


class Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Note under `name` the seconds since the last lap."""
        now = time.perf_counter()
        self.laps[name], self._last = now - self._last, now


@dataclass(frozen=True)
class Feeds:
    """What the network is given: plain images by the shortest way there is, and what training and validation see."""

    plain: Feed
    training: Feed
    validation: Feed

    @classmethod
    def prepare(cls, stage: Stage, network: keras.Model, cut: Sequence[str]) -> Feeds:
        """Stored activations at the cut; where images are augmented anew in every epoch, the pixels and the whole network."""
        images = stage.inputs["ingest"] / "images.npy"
        recipe = recipe_from_json(json_files.read(stage.inputs["preprocess"] / "augment.json"))
        plain = prefix.feed(stage, network, cut, backbone=stage.inputs["build"] / "backbone.keras", images=images)
        if not recipe.changes:
            return cls(plain, plain, plain)
        augmented = AugmentedFeed(network, (np.load(images, mmap_mode="r"),), recipe)
        return cls(plain, augmented, augmented if recipe.validation else plain)


def batchnorm_used(asked: str, network: keras.Model, learning: Sequence[str]) -> str:
    """What `batchnorm` comes to: "none" in a network without such layers, "frozen" where none of them learns."""
    if not any(map(head.is_batchnorm, network.layers)):
        return "none"
    if not learning:
        return "frozen"
    return "recalibrate" if asked == "auto" else asked


def recalibration(feed: Feed, learning: Sequence[str], rows: NDArray[np.int64], seed: int) -> Recalibration:
    """Re-estimation of those layers' statistics on a sample of the training images, as inference will see them."""
    chosen = sample(rows, statistics.SAMPLE, seed)
    return Recalibration(feed, statistics.batch_mode(feed.model, learning), chosen, BATCH)


def sizes(network: keras.Model) -> dict[str, int]:
    """Parameters of the whole network, and those that learned."""
    return {
        "parameters": network.count_params(),
        "trainable_parameters": sum(math.prod(variable.shape) for variable in network.trainable_variables),
    }


def speed(fitted: Fitted, images: int) -> dict[str, float]:
    """Seconds of an epoch's fitting (the fastest: the first one compiles), of the first step, and images per second."""
    epoch = min(fitted.epoch_seconds)
    return {"epoch_seconds": epoch, "first_step_seconds": fitted.first_step_seconds, "images_per_second": images / epoch}


def write_history(path: Path, history: Sequence[Row], learning_rate: float) -> None:
    """One row an epoch, every number in the fewest digits that give it back exactly."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*history[0], "learning_rate"], lineterminator="\n")
        table.writeheader()
        table.writerows({**row, "learning_rate": learning_rate} for row in history)
