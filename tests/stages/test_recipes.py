"""Phases, schedules, weights of classes and smoothed labels: the losses are those of a plain Keras script with the same parts."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from kpipe.stage import StageError
from stages import train
from stages.data.manifest import read, write
from tests.stages import tiny

BATCH, STEPS = 16, 4  # 60 training images: the last batch of an epoch has 12
schedules = keras.optimizers.schedules


def history(folder: Path) -> list[dict[str, float]]:
    with (folder / "history.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def training(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "training.json").read_text()))


@dataclass
class Part:
    """A phase of the plain script."""

    epochs: int
    optimizer: Callable[[], keras.Optimizer]
    unfreeze: int = 0
    callbacks: tuple[keras.callbacks.Callback, ...] = ()


class Ordered(keras.utils.PyDataset):
    """The batches of several epochs one after the other, in the order that a seed and the epoch's number give."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, rows: np.ndarray, epochs: range) -> None:
        super().__init__()
        self.pixels, self.labels = pixels, labels
        orders = [np.random.default_rng([0, epoch]).permutation(rows) for epoch in epochs]
        self.batches = [order[start : start + BATCH] for order in orders for start in range(0, len(order), BATCH)]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        return self.pixels[self.batches[i]], self.labels[self.batches[i]]


def plain(
    run: tiny.Run, parts: list[Part], loss: Any = "sparse_categorical_crossentropy", batchnorm: bool = True, **options: Any
) -> list[dict[str, float]]:
    """What a person would write who knows Keras alone: one row an epoch; without `batchnorm` its layers stay frozen."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    backbone = keras.models.load_model(run.inputs["build"] / "backbone.keras", compile=False)
    features = keras.layers.GlobalAveragePooling2D(name="pool")(backbone.output)
    output = keras.layers.Dense(3, activation="softmax", name="probabilities")(features)
    model = keras.Model(backbone.input, output)
    pixels, items = np.load(run.inputs["ingest"] / "images.npy"), read(run.inputs["ingest"] / "manifest.csv")
    labels = np.array([tiny.CLASSES.index(item.label) for item in items])
    if not isinstance(loss, str):
        labels = keras.utils.to_categorical(labels, 3)
    rows, held = (np.array([item.row for item in items if item.split == split]) for split in ("train", "validation"))
    names, told, done = tiny.layer_names(backbone), [], 0
    for part in parts:
        for layer in backbone.layers:
            learns = batchnorm or not isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = learns and layer.name in names[len(names) - part.unfreeze :]
        model.compile(part.optimizer(), loss=loss, metrics=["accuracy"])
        batches = Ordered(pixels, labels, rows, range(done + 1, done + part.epochs + 1))
        fitted = model.fit(
            batches, epochs=part.epochs, steps_per_epoch=STEPS, shuffle=False, verbose=0, callbacks=list(part.callbacks),
            validation_data=(pixels[held], labels[held]), **options,
        )  # fmt: skip
        told += [{name: values[i] for name, values in fitted.history.items()} for i in range(part.epochs)]
        done += part.epochs
    return told


def assert_same(rows: list[dict[str, float]], expected: list[dict[str, float]], *columns: str) -> None:
    for column in columns or ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert [row[column] for row in rows] == pytest.approx([row[column] for row in expected], rel=1e-4), column


@pytest.mark.slow
def test_phases_are_fits_one_after_the_other(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    phases = [
        {"epochs": 2, "learning_rate": 0.02},
        {"unfreeze": 4, "epochs": 3, "schedule": "cosine", "warmup": 0.5},
    ]
    out = run.run("train", train.run, batch_size=BATCH, batchnorm="train", phases=phases)
    cosine = schedules.CosineDecay(0.0, 10, warmup_target=1e-3, warmup_steps=2)
    parts = [Part(2, lambda: keras.optimizers.Adam(0.02)), Part(3, lambda: keras.optimizers.Adam(cosine), unfreeze=4)]
    assert_same(history(out), plain(run, parts))
    assert [row["phase"] for row in history(out)] == [1, 1, 2, 2, 2]
    rates = [row["learning_rate"] for row in history(out)]
    assert rates == pytest.approx([0.02, 0.02, *(1e-3 * (1 + np.cos(np.pi * step / 10)) / 2 for step in (1, 5, 9))])
    assert training(out)["in_phases"]
    first, second = training(out)["phases"]
    assert (first["frozen_prefix"]["cut"], first["unfrozen_layers"]) == (["out"], [])
    assert sorted(second["frozen_prefix"]["cut"]) == ["relu1", "relu2"]
    assert second["unfrozen_layers"] == ["conv3", "bn3"]
    assert [(p["first_epoch"], p["epochs_run"], p["epoch_chosen"]) for p in (first, second)] == [(1, 2, 2), (3, 3, 5)]
    assert [(p["learning_rate"], p["schedule"], p["warmup"]) for p in (first, second)] == [
        (0.02, "constant", 0.0),
        (1e-3, "cosine", 0.5),
    ]


@pytest.mark.slow
def test_a_phase_that_freezes_again_begins_with_what_the_layers_learned(tmp_path: Path) -> None:
    """The layers below its cut are not those of the backbone any more: stored activations of the backbone would be wrong."""
    run = tiny.start(tmp_path)
    phases = [{"unfreeze": 4, "epochs": 2, "learning_rate": 0.05}, {"unfreeze": 0, "epochs": 2, "learning_rate": 0.02}]
    out = run.run("train", train.run, batch_size=BATCH, batchnorm="frozen", phases=phases)
    parts = [Part(2, lambda: keras.optimizers.Adam(0.05), unfreeze=4), Part(2, lambda: keras.optimizers.Adam(0.02))]
    assert_same(history(out), plain(run, parts, batchnorm=False))
    first, second = training(out)["phases"]
    assert (second["unfrozen_layers"], first["frozen_prefix"]) == ([], second["frozen_prefix"])


@pytest.mark.slow
def test_step_schedule_with_momentum_and_weight_decay_is_kerass_own(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    settings: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01, "learning_rate": 0.1}
    out = run.run("train", train.run, epochs=4, batch_size=BATCH, schedule="step", **settings)
    steps = schedules.PiecewiseConstantDecay([7, 11], [0.1, 0.01, 0.001])
    optimizer = lambda: keras.optimizers.SGD(steps, momentum=0.9, weight_decay=0.01)  # noqa: E731
    assert_same(history(out), plain(run, [Part(4, optimizer)]))
    assert [row["learning_rate"] for row in history(out)] == [0.1, 0.1, 0.01, 0.001]
    told = training(out)
    assert (told["optimizer"], told["momentum"], told["weight_decay"]) == ("sgd", 0.9, 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [3.0, 1e-7])
def test_plateau_is_kerass_callback_on_the_watched_loss(tmp_path: Path, rate: float) -> None:
    if rate == 3.0 and keras.backend.backend() != "tensorflow":
        pytest.skip("elsewhere a softmax saturates at this rate, and the loss of plain Keras stands still with it")
    run = tiny.start(tmp_path)
    settings: dict[str, Any] = {"optimizer": "rmsprop", "learning_rate": rate}
    out = run.run("train", train.run, epochs=6, batch_size=BATCH, schedule="plateau", plateau_patience=1, **settings)
    waiting = keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.1, patience=1)
    part = Part(6, lambda: keras.optimizers.RMSprop(rate), callbacks=(waiting,))
    expected = plain(run, [part])
    rates = [row["learning_rate"] for row in history(out)]
    assert rates == pytest.approx([row["learning_rate"] for row in expected], rel=1e-5, abs=0)
    assert len(set(rates)) > 1
    assert_same(history(out), expected)


@pytest.mark.slow
def test_balanced_classes_count_the_same_and_validation_loss_is_not_weighted(tmp_path: Path) -> None:
    run = imbalanced(tiny.start(tmp_path))
    out = run.run("train", train.run, epochs=2, batch_size=BATCH, class_weights="balanced", learning_rate=0.02)
    labels = [item.label for item in read(run.inputs["ingest"] / "manifest.csv") if item.split == "train"]
    weights = dict(enumerate(compute_class_weight("balanced", classes=np.array(tiny.CLASSES), y=labels)))
    expected = plain(run, [Part(2, lambda: keras.optimizers.Adam(0.02))], class_weight=weights)
    assert_same(history(out), expected)
    assert list(training(out)["class_weights"].values()) == pytest.approx(list(weights.values()))
    unweighted = run.run("train", train.run, epochs=2, batch_size=BATCH, learning_rate=0.02)
    assert history(unweighted)[0]["loss"] != pytest.approx(history(out)[0]["loss"], rel=1e-4)


def imbalanced(run: tiny.Run) -> tiny.Run:
    """Half of the first class's images are said to be of the second."""
    manifest = run.inputs["ingest"] / "manifest.csv"
    write(manifest, [replace(item, label=tiny.CLASSES[1]) if item.row % 6 == 0 else item for item in read(manifest)])
    return run


@pytest.mark.slow
def test_smoothed_labels_are_for_training_alone(tmp_path: Path) -> None:
    run = imbalanced(tiny.start(tmp_path))
    settings: dict[str, Any] = {"label_smoothing": 0.2, "class_weights": "balanced", "optimizer": "adamw"}
    out = run.run("train", train.run, epochs=2, batch_size=BATCH, learning_rate=0.02, **settings)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.2)
    weights = {tiny.CLASSES.index(name): weight for name, weight in training(out)["class_weights"].items()}
    expected = plain(run, [Part(2, lambda: keras.optimizers.AdamW(0.02))], loss, class_weight=weights)
    assert_same(history(out), expected, "loss", "accuracy", "val_accuracy")
    assert training(out)["weight_decay"] == 0.004
    model = keras.models.load_model(out / "model.keras")
    pixels, items = np.load(run.inputs["ingest"] / "images.npy"), read(run.inputs["ingest"] / "manifest.csv")
    held = [item.row for item in items if item.split == "validation"]
    labels = np.array([tiny.CLASSES.index(items[row].label) for row in held])
    plainly = keras.losses.sparse_categorical_crossentropy(labels, model.predict(pixels[held], verbose=0))
    assert history(out)[-1]["val_loss"] == pytest.approx(float(np.mean(plainly)), rel=1e-4)
    assert expected[-1]["val_loss"] != pytest.approx(history(out)[-1]["val_loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "says", "hint"),
    [
        ({"phases": []}, "phases = [] has no phase", "leave phases out"),
        ({"epochs": 3, "phases": [{"epochs": 1}, {"epochs": 2}]}, "epochs = 3 and phases contradict", "leave epochs out"),
        (
            {"unfreeze": "all", "epochs": 3, "phases": [{"unfreeze": 0, "epochs": 2}, {"unfreeze": 8, "epochs": 1}]},
            'unfreeze = "all", epochs = 3 and phases contradict each other',
            "leave unfreeze, epochs out",
        ),
        ({"epochs": 2, "warmup": 2.0}, "warmup = 2", "fewer than 2 epochs"),
        ({"phases": [{"epochs": 5}, {"warmup": 10}]}, "warmup = 10", "fewer than 10 epochs"),
        ({"schedule": "plateau", "early_stopping": 3}, "early_stopping = 3 ends training before plateau_patience = 3", "= 7"),
        ({"schedule": "plateau", "epochs": 4}, "plateau_patience = 3 lowers no rate in 4 epochs", "epochs = 5"),
        ({"momentum": 0.9}, "momentum = 0.9: adam has no such setting", 'optimizer = "sgd"'),
        ({"phases": [{"epochs": 9}, {"unfreeze": 12}]}, "unfreeze = 12: tiny has 11 layers", "from 0 to 11"),
    ],
)
def test_recipe_that_cannot_be_followed_is_refused_before_training(
    tmp_path: Path, settings: dict[str, Any], says: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.Model, "fit", None)
    with pytest.raises(StageError, match=re.escape(says)) as caught:
        tiny.start(tmp_path).run("train", train.run, **settings)
    assert hint in str(caught.value.hint)


@pytest.mark.slow
def test_settings_without_effect_are_said(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    stage = run.stage("train")
    train.run(stage, epochs=1, plateau_patience=2, views=2)
    assert stage.notices == [
        'plateau_patience = 2 has no effect: no phase has schedule = "plateau"',
        "views = 2 has no effect: preprocess does not augment",
    ]
    stage = run.stage("train")
    train.run(stage, plateau_patience=1, phases=[{"epochs": 1}, {"epochs": 3, "schedule": "plateau"}])
    assert stage.notices == []


@pytest.mark.slow
def test_kerass_own_limits_end_epochs_and_phases_and_are_said(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    keras.config.set_max_epochs(2)
    keras.config.set_max_steps_per_epoch(3)
    try:
        stage = run.stage("train")
        train.run(stage, batch_size=BATCH, batchnorm="frozen", phases=[{"epochs": 3}, {"epochs": 1, "unfreeze": 4}])
        with pytest.raises(StageError, match="only 3 of 100 steps"):
            run.run("train", train.run, batch_size=BATCH, learning_rate="find")
    finally:
        keras.config.set_max_epochs(None)
        keras.config.set_max_steps_per_epoch(None)
    assert len(history(stage.out)) == 3
    assert [p["epochs_run"] for p in training(stage.out)["phases"]] == [2, 1]
    assert [notice for notice in stage.notices if "KERAS_MAX_EPOCHS = 2" in notice]
    assert [notice for notice in stage.notices if "KERAS_MAX_STEPS_PER_EPOCH = 3" in notice]


@pytest.mark.slow
def test_values_that_a_phase_leaves_out_are_the_stages_own(tmp_path: Path) -> None:
    phases = [{"unfreeze": 4}, {"epochs": 2}]
    out = tiny.start(tmp_path).run("train", train.run, epochs=1, learning_rate=0.01, phases=phases)
    told = training(out)["phases"]
    assert [(p["unfreeze"], p["epochs"], p["learning_rate"]) for p in told] == [(4, 1, 0.01), (0, 2, 0.01)]
