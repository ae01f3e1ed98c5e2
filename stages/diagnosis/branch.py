"""What the rules look at, from the artifacts of a branch that kpipe trained."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage
from stages import json_files
from stages.data import copies
from stages.data.labels import sample
from stages.data.rows import Rows
from stages.diagnosis import augmentation, batchnorm_gap, label_errors, leakage, recipe_checks, small_batches, units
from stages.diagnosis import trained as rules
from stages.diagnosis.finding import Finding
from stages.diagnosis.seen import Row, Seen, Split
from stages.evaluation.trained import Trained
from stages.network import batchnorm, graph
from stages.network.augmented import Augmented, recipe_of
from stages.network.feed import BATCH, Feed
from stages.network.scores import loss_and_accuracy

AUGMENTED = 128  # training images that are looked at as they are and augmented
Predicted = Mapping[str, tuple[NDArray[np.int64], NDArray[np.float32]]]  # split -> rows, probabilities


def find(stage: Stage, trained: Trained, predicted: Predicted, modes: dict[str, Any], before: Sequence[Finding]) -> list[Finding]:
    """What every rule found on a trained branch; `predicted` has a sample of train, and all of validation and test.

    `before` was found before training: a cause among it explains symptoms.
    """
    splits = {name: Split(values, trained.labels.index[rows]) for name, (rows, values) in predicted.items()}
    history = read_history(stage.inputs["train"] / "history.csv")
    chosen = trained.training["epoch_chosen"]
    last = [row for row in history if row.get("phase") == history[-1].get("phase")]
    phase = trained.training["phases"][-1]
    told = {"random_backbone": random_backbone(stage), "epochs_asked": phase["epochs"]}
    seen = Seen(
        classes=trained.labels.classes,
        train=splits["train"],
        validation=splits["validation"],
        training_labels=trained.labels.index[trained.labels.rows("train")],
        history=last,
        before=len(history) - len(last),
        chosen=chosen - (len(history) - len(last)),
        changes=trained.training["changes"],
        silent=lambda: silent(trained, predicted["train"][0]),
        settings=trained.training | told,
    )
    used = trained.training["batchnorm"]["used"]
    measured = [
        batchnorm_gap.find(used, modes, history[chosen - 1], lambda: recalibrated(trained), memory(trained, history[:chosen])),
        small_batches.find(trained.training["batch_size"], modes, used == "recalibrate"),
        leakage.find(*shared(stage, trained, predicted, splits)),
        augmented(stage, trained, *predicted["train"]),
    ]
    known = [finding for finding in measured if finding]
    static = [Finding.from_json(told) for told in json_files.read(stage.inputs["preprocess"] / "checks.json")]
    found = [*known, *rules.find(seen, [*static, *before, *known])]
    paths = [trained.labels.items[row].path for row in predicted["validation"][0]]
    return [*found, *label_errors.find(seen, paths, [*static, *before, *found])]


def memory(trained: Trained, history: Sequence[Row]) -> dict[str, float]:
    """How much of the moving statistics is from before the steps of these epochs; empty where no such layer learned."""
    names, phases = trained.training["batchnorm"]["names"], trained.training["phases"]
    learned = [number for number, phase in enumerate(phases, 1) if set(names) & set(phase["unfrozen_layers"])]
    if not learned:
        return {}
    epochs = sum(row.get("phase", 1) in learned for row in history)
    momentum = max(trained.network.get_layer(name).momentum for name in names)
    return batchnorm_gap.remembered(momentum, epochs * trained.training["steps_per_epoch"])


def read_history(path: Path) -> list[Row]:
    """Rows of history.csv, without its blanks."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def random_backbone(stage: Stage) -> bool:
    """Whether the backbone began with random weights."""
    return bool(json_files.read(stage.inputs["build"] / "pixels.json")["weights"] == "random")


def silent(trained: Trained, rows: NDArray[np.int64]) -> dict[str, float]:
    """For each layer with a ReLU that training computed, the share of its units (channels) that fire for none of the images."""
    computed = graph.between(trained.network, trained.cut, [trained.network.operations[-1].name])
    names = [op.name for op in computed if units.rectifies(op)]
    return units.silent(graph.part(trained.network, trained.cut, names), names, trained.feed.arrays, rows) if names else {}


def shared(
    stage: Stage, trained: Trained, predicted: Predicted, splits: Mapping[str, Split]
) -> tuple[dict[str, NDArray[np.bool_]], dict[str, NDArray[np.bool_]]]:
    """For validation and test: which images are training images too, or near copies, and which were classified rightly."""
    pictures, training = copies.identities(stage.inputs["ingest"], trained.labels.items), trained.labels.rows("train")
    judged = ("validation", "test")
    leaked = {name: leakage.exact(pictures, training, predicted[name][0]) for name in judged}
    return leaked, {name: splits[name].predicted == splits[name].labels for name in judged}


def augmented(stage: Stage, trained: Trained, rows: NDArray[np.int64], plain: NDArray[np.float32]) -> Finding | None:
    """The rule on augmentation, where there is any."""
    recipe = recipe_of(stage)
    if not recipe.changes:
        return None
    some = rows[:AUGMENTED]
    changed = Feed(trained.network, (Augmented(Rows.of(stage.inputs["ingest"] / "images.npy"), recipe, 1),)).predict(some)
    labels = trained.labels.index[some]
    plainly, augmentedly = Split(plain[: len(some)], labels), Split(changed, labels)
    return augmentation.find(plainly, augmentedly, recipe_checks.described(recipe), recipe_checks.instead(recipe, "none"))


def recalibrated(trained: Trained) -> float:
    """Validation accuracy after re-estimating the statistics of the BatchNormalization layers that learned."""
    rows = sample(trained.labels.rows("train"), batchnorm.SAMPLE, 0)
    validation = trained.labels.rows("validation")
    estimated = batchnorm.estimate(
        batchnorm.batch_mode(trained.feed.model, trained.training["batchnorm"]["names"]), trained.feed, rows, BATCH
    )
    with batchnorm.holding(trained.network, estimated):
        return loss_and_accuracy(trained.feed.predict(validation), trained.labels.index[validation])[1]
