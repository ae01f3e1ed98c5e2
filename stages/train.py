"""Train a head on the backbone, and the last layers of the backbone with it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated, Literal, TypedDict

import keras

from kpipe.stage import Stage
from stages import json_files
from stages.data.labels import Labels
from stages.network import device, head, keras_files, memory, parallel
from stages.network.augmented import recipe_of
from stages.network.precision import float32_afterwards
from stages.training import costs, told
from stages.training import phases as recipe
from stages.training.changes import Changes
from stages.training.objective import Objective
from stages.training.phases import Phase
from stages.training.training import Settings, Training


class PhaseTable(TypedDict, total=False):
    """One of `phases`: what it leaves out is the stage's own value."""

    unfreeze: Annotated[int, "0 <= unfreeze"] | Literal["all"]
    epochs: Annotated[int, "1 <= epochs"]
    learning_rate: Annotated[float, "0 < learning_rate"] | Literal["find"]
    schedule: Literal["constant", "cosine", "step", "plateau"]
    warmup: Annotated[float, "0 <= warmup"]
    layer_decay: Annotated[float, "0 < layer_decay <= 1"]


def run(
    stage: Stage,
    *,
    epochs: Annotated[int, "1 <= epochs"] = 10,
    batch_size: Annotated[int, "1 <= batch_size"] = 32,
    learning_rate: Annotated[float, "0 < learning_rate"] | Literal["find"] = 1e-3,
    schedule: Literal["constant", "cosine", "step", "plateau"] = "constant",
    warmup: Annotated[float, "0 <= warmup"] = 0.0,
    plateau_patience: Annotated[int, "1 <= plateau_patience"] = 3,
    layer_decay: Annotated[float, "0 < layer_decay <= 1"] = 1.0,
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam",
    momentum: Annotated[float, "0 <= momentum < 1"] = 0.0,
    weight_decay: Annotated[float, "0 <= weight_decay"] | None = None,
    class_weights: Literal["none", "balanced"] = "none",
    label_smoothing: Annotated[float, "0 <= label_smoothing < 1"] = 0.0,
    unfreeze: Annotated[int, "0 <= unfreeze"] | Literal["all"] = 0,
    phases: list[PhaseTable] | None = None,
    pooling: Literal["avg", "flatten"] = "avg",
    units: Annotated[int, "0 <= units"] = 0,
    dropout: Annotated[float, "0 <= dropout < 1"] = 0.0,
    batchnorm: Literal["auto", "frozen", "train", "recalibrate"] = "auto",
    early_stopping: Annotated[int, "0 <= early_stopping"] = 0,
    activations: Literal["float32", "float16", "off"] = "float32",
    views: Annotated[int, "0 <= views"] = 0,
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32",
    fold: Annotated[int, "0 <= fold"] | None = None,
    seed: Annotated[int, "0 <= seed < 4294967296"] = 0,
) -> None:
    """Write model.keras (uint8 RGB pixels in, probabilities out), history.csv, training.json and costs.json.

    `epochs`, `learning_rate`, `schedule`, `warmup`, `layer_decay`, `unfreeze`: of the only phase, or of all `phases` that do
        not say their own; each phase has a new optimizer and begins with the weights that the one before chose.
    `learning_rate`: a number, or "find": a learning-rate range test from the phase's first weights (training/finder.py).
    `schedule`: of the rate over a phase's steps: "constant"; "cosine", to 0; "step", to a tenth at half and at three quarters;
        "plateau", to a tenth after `plateau_patience` epochs without a better validation loss.
    `warmup`: epochs, or parts of one, in which the rate rises from 0.
    `layer_decay`: a layer learns at learning_rate * layer_decay ** (its depth below the head); 1: all at the same rate.
    `optimizer`, `momentum` (sgd, rmsprop), `weight_decay` (left out: Keras's own, 0.004 for adamw and none for the others).
    `class_weights`: "balanced" weighs an image by images / (classes * images of its class), in the training loss alone.
    `label_smoothing`: this share of every label is spread over all classes, in the training loss alone. The validation loss
        is always the plain cross-entropy, so that it can be compared between trainings.
    `unfreeze`: how many of the backbone's last layers learn.
    `pooling`, `units`, `dropout`: the head: how features are pooled, size of a hidden layer (0: none), dropout before the last.
    `batchnorm`, of the unfrozen BatchNormalization layers: "frozen" keeps them in inference mode, "train" is plain Keras,
        "recalibrate" re-estimates their statistics after every epoch, "auto" recalibrates where there are any.
    `early_stopping`: epochs without a better validation loss that end a phase, whose best epoch is kept (0: never).
    `activations`: those of the frozen layers are stored and reused, as "float32" (the same training as without), as "float16"
        (half the disk, values rounded to 11 bits), or computed anew in every step ("off").
    `views`, where preprocess augments: 0 augments every image anew in every epoch, so that its frozen layers are computed in
        every epoch too; K keeps K augmented copies of each image and their activations, and epoch e shows copy
        (e - 1) mod K + 1: as many times faster as epochs are more than copies, and less varied. With K >= epochs it is the
        training of 0 (all in float32), whose activations serve the next experiment.
    `precision`: in which the fitted layers compute, but for the softmax; "mixed_..." is for GPUs that are faster in it. The
        variables, stored activations and the saved model stay in float32. Where no activations are stored for training
        (`activations` "off", or `views` 0 where preprocess augments) frozen layers are fitted ones too.
    `fold`: the part of ingest's `folds` that validates; all other images but those of test train.
    """
    began = time.perf_counter()
    own = Phase(unfreeze, epochs, learning_rate, schedule, warmup, layer_decay)
    asked = recipe.read(own, phases, run.__kwdefaults__ or {})
    recipe.check(asked, plateau_patience, early_stopping)
    asked = limited(stage, asked)
    say_idle(stage, asked, plateau_patience, views)
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    computes_on = device.prepare()
    labels = Labels(stage.inputs["ingest"], fold)
    layers = json_files.read(stage.inputs["build"] / "layers.json")["backbone_layers"]
    settings = Settings(
        phases=asked,
        objective=Objective(optimizer, momentum, weight_decay, label_smoothing, class_weights, precision),
        batch_size=batch_size,
        batchnorm=batchnorm,
        patience=early_stopping,
        plateau_patience=plateau_patience,
        activations=activations,
        views=views,
        seed=seed,
    )
    devices = parallel.choose(stage, min(batch_size, len(labels.rows("train"))))
    with parallel.over(devices):
        backbone = keras_files.read(stage.inputs["build"] / "backbone.keras")
        network = head.attach(backbone, classes=len(labels.classes), pooling=pooling, units=units, dropout=dropout)
        memory.give_back_with(network, network.variables)
        training, changes = Training(stage, labels, network, layers, settings), Changes(network)
        with parallel.synchronized(network), float32_afterwards(network):
            training.go()
        keras_files.write(network, stage.out / "model.keras")
    told.write_history(stage.out / "history.csv", training.state.history)
    shape = {"pooling": pooling, "units": units, "dropout": dropout}
    said = {"in_phases": phases is not None, "fold": fold, "head": shape, "changes": changes.told()}
    json_files.write(stage.out / "training.json", told.tell(training) | said)
    work = costs.by_phase(training)
    json_files.write(stage.out / "costs.json", work)
    stage.measure(
        train_seconds=time.perf_counter() - began - training.times.parts["prefix"],
        **training.times.told(len(labels.rows("train"))),
        device=computes_on,
        devices=len(devices),
        peak_memory_bytes=device.peak_memory_bytes(),
        **costs.measures(training, work, len(devices)),
    )


def limited(stage: Stage, phases: list[Phase]) -> list[Phase]:
    """The phases with no more epochs than Keras's own limit, which is said."""
    steps, epochs = keras.config.max_steps_per_epoch(), keras.config.max_epochs()
    if steps:
        stage.notice(f"KERAS_MAX_STEPS_PER_EPOCH = {steps}: no epoch has more steps")
    if epochs and any(phase.epochs > epochs for phase in phases):
        stage.notice(f"KERAS_MAX_EPOCHS = {epochs}: no phase has more epochs")
    return [replace(phase, epochs=min(phase.epochs, epochs or phase.epochs)) for phase in phases]


def say_idle(stage: Stage, phases: list[Phase], plateau_patience: int, views: int) -> None:
    """Say which settings have no effect: branches of a matrix may share them with others, where they have one."""
    plateaus = any(phase.schedule == "plateau" for phase in phases)
    if plateau_patience != (run.__kwdefaults__ or {})["plateau_patience"] and not plateaus:
        stage.notice(f'plateau_patience = {plateau_patience} has no effect: no phase has schedule = "plateau"')
    if views and not recipe_of(stage).changes:
        stage.notice(f"views = {views} has no effect: preprocess does not augment")
