"""Training in lower precision: what computes in it, what does not, and what the saved model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kpipe.stage import StageError
from stages import train
from stages.network import keras_files, precision
from stages.training.training import Training
from tests.stages import tiny
from tests.stages.test_train import history, training

SETTINGS: dict[str, Any] = {"epochs": 6, "batch_size": 16, "learning_rate": 0.01, "unfreeze": 4, "units": 8}
LOWER = ["mixed_bfloat16", "mixed_float16"]


@pytest.fixture
def policies(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What each layer of the fitted model computed in, of every phase."""
    seen: list[dict[str, str]] = []
    compile_ = Training.compile

    def note(self: Training, model: keras.Model, *args: Any) -> Any:
        seen.append({layer.name: layer.compute_dtype for layer in model.layers})
        return compile_(self, model, *args)

    monkeypatch.setattr(Training, "compile", note)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("asked", LOWER)
def test_lower_precision_learns_the_same_within_its_rounding(tmp_path: Path, asked: str, policies: list[dict[str, str]]) -> None:
    run = tiny.start(tmp_path)
    plain = history(run.run("train", train.run, **SETTINGS))
    out = run.run("train", train.run, **SETTINGS, precision=asked)
    lower = history(out)
    assert training(out)["precision"] == asked
    assert policies[-1]["conv3"] == policies[-1]["hidden"] == asked.removeprefix("mixed_")
    assert policies[-1]["probabilities"] == "float32"
    assert [row["loss"] for row in lower] != [row["loss"] for row in plain]
    for a, b in zip(lower, plain, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=0.1)
    assert lower[-1]["accuracy"] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("asked", LOWER)
def test_saved_model_is_in_float32(tmp_path: Path, asked: str) -> None:
    run = tiny.start(tmp_path)
    model = keras_files.read(run.run("train", train.run, epochs=1, unfreeze="all", precision=asked) / "model.keras")
    assert {layer.dtype_policy.name for layer in model.layers if layer.name not in ("image",)} == {"float32"}
    pixels = np.load(run.inputs["ingest"] / "images.npy")
    assert model.predict(pixels[:4], verbose=0).sum(axis=1) == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
def test_frozen_activations_are_those_of_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny.start(tmp_path)
    run.run("train", train.run, epochs=1)
    stored = sorted((tmp_path / "store" / "memo").rglob("*.npy"))
    run.run("train", train.run, epochs=1, precision="mixed_bfloat16")
    assert sorted((tmp_path / "store" / "memo").rglob("*.npy")) == stored


@pytest.mark.slow
def test_every_phase_has_its_own_layers_in_lower_precision(tmp_path: Path, policies: list[dict[str, str]]) -> None:
    run = tiny.start(tmp_path)
    phases = [{"unfreeze": 0, "epochs": 1}, {"unfreeze": 4, "epochs": 1}]
    run.run("train", train.run, phases=phases, precision="mixed_bfloat16")
    assert "conv3" not in policies[0] and policies[1]["conv3"] == "bfloat16"


@pytest.mark.slow
def test_loss_that_overflows_in_float16_is_said(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    with pytest.raises(StageError, match="not a finite number"):
        run.run("train", train.run, epochs=3, learning_rate=1e30, optimizer="sgd", units=8, precision="mixed_float16")


def test_pixels_and_softmax_stay_in_float32() -> None:
    network = tiny.network("all")
    with precision.float32_afterwards(network):
        precision.compute_in(network.layers, "mixed_bfloat16")
        kept = {layer.name for layer in network.layers if layer.compute_dtype == "float32"}
        assert kept == {"image", "pixels", "probabilities"}
    assert {layer.compute_dtype for layer in network.layers[1:]} == {"float32"}
