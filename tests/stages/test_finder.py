"""The learning-rate finder: what it chooses by a curve, that it leaves nothing behind, and its curve against plain Keras."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from kpipe.stage import StageError
from stages import train
from stages.data.manifest import read
from stages.training import finder
from tests.stages import tiny

RATES = np.geomspace(1e-7, 10, 100)
FIND: dict[str, Any] = {"learning_rate": "find", "units": 8, "dropout": 0.3, "batch_size": 16, "epochs": 2}


def curve(floor: float, falls_at: float, rises_at: float, noise: float = 0.01) -> list[float]:
    """A loss that falls from 1 to a floor around one rate and rises around another."""
    decades = np.log10(RATES)
    falls = (1 - floor) / (1 + np.exp(-4 * (decades - np.log10(falls_at))))
    rises = np.exp(np.clip(6 * (decades - np.log10(rises_at)), -50, 50))
    return [float(loss) for loss in 1 - falls + rises + np.random.default_rng(0).normal(0, noise, 100)]


def test_rate_is_in_the_middle_of_the_longest_fall() -> None:
    losses = curve(0.2, falls_at=1e-3, rises_at=1)
    found, smoothed = finder.choose(losses), pd.Series(losses).ewm(alpha=0.1, adjust=True).mean()
    assert found.losses == pytest.approx(list(smoothed))
    assert found.rates == pytest.approx(list(RATES))
    low, high = found.falls
    assert 1e-5 < low < 1e-3 < high < RATES[smoothed.argmin()]
    first, last = (int(np.argmin(np.abs(RATES - rate))) for rate in (low, high))
    fallen = (smoothed[first] - smoothed[last]) / (smoothed[first] - smoothed.min())
    assert 0.95 <= fallen < 0.98
    assert found.learning_rate == pytest.approx(math.sqrt(low * high), rel=0.15)
    assert len(f"{found.learning_rate:g}".replace(".", "").lstrip("0")) <= 2


def test_a_loss_that_comes_down_to_guessing_does_not_raise_the_rate() -> None:
    """Ten classes, a first loss of 20: from 1e-2 on all units are dead, and the loss of knowing nothing is the lowest there is."""
    decades = np.log10(RATES)
    losses = 2.3 + 18 / (1 + np.exp(3 * (decades - np.log10(4e-4)))) + np.random.default_rng(0).normal(0, 0.05, 100)
    assert 1e-4 < finder.choose([float(loss) for loss in losses]).learning_rate < 1.5e-3


def test_longest_fall_may_have_bumps() -> None:
    assert finder.longest_fall([3, 9, 8, 8.5, 7, 6, 6.5, 5, 7, 6.9]) == (3, 7)  # 9 8 7 6 5: five steps, which end with the 5
    assert finder.longest_fall([10, 9, 0.5, 8, 11, 7, 6, 5]) == (2, 7)  # 10 9 8 7 6 5: six steps, the first of which is a dip
    assert finder.longest_fall([1, 2, 3]) == (0, 0)


def test_images_that_are_learned_once_do_not_raise_the_rate() -> None:
    """The loss stays at nothing for decades of rates, and never rises."""
    flat = curve(0.0, falls_at=1e-3, rises_at=1e9)
    assert 1e-4 < finder.choose(flat).learning_rate < 2e-2


@pytest.mark.parametrize("spread", [0.01, 0.3])
def test_loss_that_varies_and_never_falls_has_no_rate(spread: float) -> None:
    flat = [float(loss) for loss in np.random.default_rng(1).normal(1, spread, 100)]
    with pytest.raises(StageError, match="the loss does not fall") as caught:
        finder.choose(flat)
    assert "batch_size" in str(caught.value.hint)


def test_loss_that_only_rises_has_no_rate() -> None:
    with pytest.raises(StageError, match="from 1e-07 to 10 the loss does not fall"):
        finder.choose(curve(1.0, 1e-4, 1e-3))


def test_loss_that_is_not_finite_from_the_first_has_no_rate() -> None:
    with pytest.raises(StageError, match="not finite from step 3 on"):
        finder.choose([1.0, 1.0, math.nan])


def test_too_few_steps_are_not_told_as_a_loss_that_is_not_finite() -> None:
    with pytest.raises(StageError, match="only 3 of 100 steps") as caught:
        finder.choose([1.0, 0.9, 0.8])
    assert "KERAS_MAX_STEPS_PER_EPOCH" in str(caught.value.hint)


def test_steps_that_float16_leaves_out_have_no_rate() -> None:
    """The scale of the loss begins so high that the first gradients are infinite: Keras halves it, and takes the rate again."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    rates = keras.optimizers.schedules.ExponentialDecay(1e-7, 99, 1e8)
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(rates), initial_scale=2.0**127), "mse")
    seen = finder.Losses(lambda *told, **more: None)
    random = np.random.default_rng(0)
    model.fit(random.normal(size=(400, 4)), random.normal(size=400), batch_size=10, verbose=0, callbacks=[seen])
    assert 10 < len(seen.losses) == int(model.optimizer.inner_optimizer.iterations) < 40
    assert all(math.isfinite(loss) for loss in seen.losses)


def test_curve_ends_where_the_loss_is_not_finite() -> None:
    losses = curve(0.2, 1e-4, 1e-2)[:70]
    assert finder.choose([*losses, math.inf]) == finder.choose(losses)


def content(folder: Path) -> tuple[bytes, list[dict[str, str]]]:
    with (folder / "history.csv").open() as file:
        return (folder / "model.keras").read_bytes(), list(csv.DictReader(file))


@pytest.mark.slow
def test_training_at_a_found_rate_is_training_at_that_number(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    settings = FIND | {"unfreeze": 4, "layer_decay": 0.8, "schedule": "cosine"}
    found = run.run("train", train.run, **settings)
    told = json.loads((found / "training.json").read_text())
    assert told["phases"][0]["finder"]["learning_rate"] == told["learning_rate"]
    given = run.run("train", train.run, **settings | {"learning_rate": told["learning_rate"]})
    assert content(found) == content(given)


@pytest.mark.slow
def test_curve_is_that_of_plain_keras(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    out = run.run("train", train.run, **FIND | {"dropout": 0.0, "epochs": 1})
    found = json.loads((out / "training.json").read_text())["phases"][0]["finder"]
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    backbone = keras.models.load_model(run.inputs["build"] / "backbone.keras", compile=False)
    backbone.trainable = False
    features = keras.layers.GlobalAveragePooling2D(name="pool")(backbone.output)
    hidden = keras.layers.Dense(8, activation="relu", name="hidden")(features)
    model = keras.Model(backbone.input, keras.layers.Dense(3, activation="softmax", name="probabilities")(hidden))
    pixels, items = np.load(run.inputs["ingest"] / "images.npy"), read(run.inputs["ingest"] / "manifest.csv")
    labels = np.array([tiny.CLASSES.index(item.label) for item in items])
    rows = np.array([item.row for item in items if item.split == "train"])
    order = np.random.default_rng([0, 0]).permutation(np.resize(rows, 100 * 16))
    model.compile(keras.optimizers.Adam(1.0), loss="sparse_categorical_crossentropy")
    losses = []
    for step, rate in enumerate(RATES[: len(found["losses"])]):
        batch = order[step * 16 : step * 16 + 16]
        model.optimizer.learning_rate = rate
        model.reset_metrics()
        losses.append(model.train_on_batch(pixels[batch], labels[batch]))
    smoothed = pd.Series(np.array(losses, float)).ewm(alpha=0.1, adjust=True).mean()
    assert found["losses"][:90] == pytest.approx(list(smoothed)[:90], rel=1e-3)  # where it diverges, rounding grows


@pytest.mark.slow
def test_found_rate_is_said_and_learns(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    stage = run.stage("train")
    train.run(stage, **FIND | {"dropout": 0.0, "epochs": 6})
    [notice] = stage.notices
    told = json.loads((stage.out / "training.json").read_text())
    assert notice.startswith(f"learning rate {told['learning_rate']:g} was found, in the middle of ")
    with (stage.out / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss"]) < 0.9 * float(rows[0]["loss"])
    assert rows[0]["learning_rate"] == repr(told["learning_rate"])


@pytest.mark.slow
def test_each_phase_finds_its_own_rate(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    stage = run.stage("train")
    train.run(stage, epochs=1, batch_size=16, learning_rate="find", phases=[{}, {"unfreeze": "all"}, {"learning_rate": 1e-4}])
    phases = json.loads((stage.out / "training.json").read_text())["phases"]
    assert [bool(phase["finder"]) for phase in phases] == [True, True, False]
    assert phases[0]["learning_rate"] != phases[1]["learning_rate"]
    assert [notice[:8] for notice in stage.notices] == ["phase 1:", "phase 2:"]
