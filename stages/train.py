"""Train a head on the backbone, and the last layers of the backbone with it."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import keras

from kpipe.stage import Stage
from stages import json_files
from stages.data.labels import Labels
from stages.network import activations as prefix
from stages.network import device, head, keras_files
from stages.training.objective import LOSS
from stages.training.phases import Phase
from stages.training.state import Row
from stages.training.training import Settings, Training


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
    began = time.perf_counter()
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    computes_on = device.prepare()
    labels = Labels(stage.inputs["ingest"])
    layers = json_files.read(stage.inputs["build"] / "layers.json")["backbone_layers"]
    backbone = keras_files.read(stage.inputs["build"] / "backbone.keras")
    network = head.attach(backbone, classes=len(labels.classes), pooling=pooling, units=units, dropout=dropout)
    settings = Settings(
        phases=[Phase(unfreeze, epochs, learning_rate)],
        optimizer=optimizer,
        batch_size=batch_size,
        batchnorm=batchnorm,
        patience=early_stopping,
        activations=activations,
        seed=seed,
    )
    training = Training(stage, labels, network, layers, settings)
    training.go()
    keras_files.write(network, stage.out / "model.keras")
    write_history(stage.out / "history.csv", training.state.history)
    json_files.write(stage.out / "training.json", tell(training))
    stage.measure(
        train_seconds=time.perf_counter() - began - training.times.parts["prefix"],
        **training.times.told(len(labels.rows("train"))),
        device=computes_on,
        peak_memory_bytes=device.peak_memory_bytes(),
    )


def tell(training: Training) -> dict[str, Any]:
    """training.json. What differs between phases is that of the last one, at the top level."""
    settings, network, state = training.settings, training.network, training.state
    outlines = [training.outline(number) for number in range(len(settings.phases))]
    last = outlines[-1]
    return {
        "parameters": network.count_params(),
        "trainable_parameters": sum(math.prod(variable.shape) for variable in network.trainable_variables),
        "classes": training.labels.classes,
        "unfreeze": settings.phases[-1].unfreeze,
        "unfrozen_layers": last.unfrozen,
        "frozen_prefix": {"cut": last.cut, "layers": prefix.depth(network, last.cut)} if last.cut else None,
        "batchnorm": {
            "asked": settings.batchnorm,
            "used": last.batchnorm,
            "layers": len(last.learning),
            "names": last.learning,
        },
        "loss": LOSS,
        "optimizer": settings.optimizer,
        "learning_rate": settings.phases[-1].learning_rate,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
        "epochs_run": len(state.history),
        "epoch_chosen": state.chosen,
        "watched": "val_loss_recalibrated" if last.batchnorm == "recalibrate" else "val_loss",
        "steps_per_epoch": math.ceil(len(training.labels.rows("train")) / settings.batch_size),
    }


def write_history(path: Path, history: Sequence[Row]) -> None:
    """One row an epoch, every number in the fewest digits that give it back exactly; blank where a phase has no such."""
    columns = {column: None for row in history for column in row if column != "learning_rate"}
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*columns, "learning_rate"], restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(history)
