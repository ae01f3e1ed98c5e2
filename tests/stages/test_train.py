"""Training: order of images, batchnorm modes, early stopping, errors, and the same bytes for the same work."""

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from kpipe.stage import StageError
from stages import train
from stages.network import keras_files
from stages.network.feed import Feed
from stages.training.batches import Batches
from tests.stages import tiny


def history(folder: Path) -> list[dict[str, float]]:
    with (folder / "history.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def training(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "training.json").read_text()))


@pytest.mark.slow
def test_training_learns_and_tells_how(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    out = run.run("train", train.run, epochs=6, batch_size=16, learning_rate=0.01, unfreeze="all")
    assert history(out)[-1]["accuracy"] > 0.8
    told = training(out)
    assert told["batchnorm"] == {"asked": "auto", "used": "recalibrate", "layers": 3, "names": ["bn1", "bn2", "bn3"]}
    assert told["frozen_prefix"] is None
    assert (told["epochs_run"], told["epoch_chosen"], told["watched"]) == (6, 6, "val_loss_recalibrated")
    assert told["steps_per_epoch"] == 4  # 60 images in batches of 16: the last one has 12
    assert told["trainable_parameters"] == told["parameters"] - 3 * 16  # all but the moving statistics
    with zipfile.ZipFile(out / "model.keras") as archive, archive.open("model.weights.h5") as weights, h5py.File(weights) as file:
        assert "optimizer" not in file


@pytest.mark.slow
@pytest.mark.cpu
def test_the_same_stage_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    settings: dict[str, Any] = {"epochs": 2, "unfreeze": 4, "pooling": "flatten", "units": 8, "dropout": 0.3, "early_stopping": 1}
    first = tiny.content(run.run("train", train.run, **settings))
    tiny.network(3)  # names and random numbers that a stage must not depend on
    assert tiny.content(run.run("train", train.run, **settings)) == first
    assert sorted(first) == ["costs.json", "history.csv", "model.keras", "training.json"]


@pytest.mark.slow
def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    models = [tiny.content(run.run("train", train.run, epochs=1, seed=seed))["model.keras"] for seed in (0, 1)]
    assert models[0] != models[1]


@pytest.mark.slow
@pytest.mark.usefixtures("sums_as_written")
def test_activations_on_or_off_is_the_same_training(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 20, "unfreeze": 4, "units": 8, "dropout": 0.3}
    stored = run.run("train", train.run, **settings)
    whole = run.run("train", train.run, **settings, activations="off")
    assert training(stored)["frozen_prefix"] == {"cut": ["relu1", "relu2"], "layers": 8}
    assert training(whole)["frozen_prefix"] is None
    for a, b in zip(history(stored), history(whole), strict=True):
        assert (a["loss"], a["accuracy"]) == (b["loss"], b["accuracy"])
        # The gradient of a bias before BatchNormalization is rounding alone; Adam makes steps of it that only inference sees.
        assert a == pytest.approx(b, rel=1e-3)


def test_every_image_is_seen_once_an_epoch_in_an_order_of_its_own() -> None:
    rows = np.arange(7, 40)
    batches = Batches(Feed(None, (np.arange(100),)), np.zeros(100, np.int32), rows, batch_size=8, seed=1)
    orders = []
    for epoch in (1, 2, 1):
        batches.start(epoch)
        orders.append(np.concatenate([batches[step][0] for step in range(len(batches))]).tolist())
    assert [sorted(order) for order in orders] == [rows.tolist()] * 3
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.slow
def test_frozen_batchnorm_keeps_its_statistics_when_unfrozen(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    out = run.run("train", train.run, epochs=1, unfreeze="all", batchnorm="frozen")
    assert training(out)["batchnorm"]["used"] == "frozen"
    assert "bn1" not in training(out)["unfrozen_layers"]
    before = keras_files.read(run.inputs["build"] / "backbone.keras").get_layer("bn1").get_weights()
    after = keras_files.read(out / "model.keras").get_layer("bn1").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert "val_loss_recalibrated" not in history(out)[0]


@pytest.mark.slow
@pytest.mark.cpu
def test_recalibration_leaves_training_itself_alone(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    settings: dict[str, Any] = {"epochs": 3, "unfreeze": "all", "learning_rate": 0.01}
    plain = run.run("train", train.run, **settings, batchnorm="train")
    recalibrated = run.run("train", train.run, **settings, batchnorm="recalibrate")
    columns = ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert [[row[c] for c in columns] for row in history(plain)] == [[row[c] for c in columns] for row in history(recalibrated)]
    models = [keras_files.read(folder / "model.keras") for folder in (plain, recalibrated)]
    kernels, means = zip(
        *((m.get_layer("conv3").get_weights()[0], m.get_layer("bn3").get_weights()[2]) for m in models), strict=True
    )
    assert np.array_equal(kernels[0], kernels[1])
    assert np.abs(means[0] - means[1]).max() > 0.01


@pytest.mark.slow
def test_the_best_epoch_is_kept_when_stopping_early(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    out = run.run("train", train.run, epochs=30, unfreeze="all", learning_rate=0.05, early_stopping=2, batchnorm="train")
    told, rows = training(out), history(out)
    best = min(rows, key=lambda row: row["val_loss"])
    assert told["epoch_chosen"] == best["epoch"] == told["epochs_run"] - 2
    pixels = np.load(run.inputs["ingest"] / "images.npy")
    validation = [i for i in range(90) if tiny.split(i) == "validation"]
    predicted = keras_files.read(out / "model.keras").predict(pixels[validation], verbose=0).argmax(axis=1)
    assert (predicted == np.array(validation) % 3).mean() == pytest.approx(best["val_accuracy"])


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_epoch_and_step(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    with pytest.raises(StageError, match=r"epoch 1, step [1-4] of 4") as caught:
        run.run("train", train.run, epochs=2, batch_size=16, learning_rate=1e30, optimizer="sgd", units=8)
    assert "learning_rate" in (caught.value.hint or "")


@pytest.mark.slow
def test_more_layers_than_there_are_cannot_be_unfrozen(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="has 11 layers"):
        tiny.start(tmp_path).run("train", train.run, unfreeze=12)


@pytest.mark.slow
def test_augmented_images_go_through_the_whole_network(tmp_path: Path) -> None:
    flips = {"name": "none", "settings": {"brightness": [1.0, 1.0], "horizontal_flip": True}, "validation": False, "seed": 2}
    run = tiny.start(tmp_path, augment=flips)
    out = run.run("train", train.run, epochs=2, learning_rate=0.01)
    assert training(out)["frozen_prefix"]["cut"] == ["out"]  # of the images that are not augmented
    plain = tiny.start(tmp_path / "plain").run("train", train.run, epochs=2, learning_rate=0.01)
    assert history(out)[0]["loss"] != history(plain)[0]["loss"]


@pytest.mark.slow
def test_validation_images_are_augmented_only_when_asked(tmp_path: Path) -> None:
    dark = {"name": "none", "settings": {"brightness": [0.01, 0.02]}, "seed": 2}
    losses = {}
    for asked in (False, True):
        run = tiny.start(tmp_path / str(asked), augment={**dark, "validation": asked})
        losses[asked] = history(run.run("train", train.run, epochs=1))[0]["val_loss"]
    assert losses[False] != losses[True]


@pytest.mark.slow
def test_the_head_has_one_output_a_class(tmp_path: Path) -> None:
    model = keras.models.load_model(tiny.start(tmp_path).run("train", train.run, epochs=1) / "model.keras")
    assert model.output_shape == (None, 3)
    assert model.layers[-1].activation is keras.activations.softmax
    assert model.input.dtype == "uint8"
