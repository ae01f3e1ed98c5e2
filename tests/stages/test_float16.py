"""Activations stored as float16: half the disk, computed on as float32, and judged by the accuracy that comes of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kpipe.stage import Stage, StageError
from stages import build, evaluate, ingest, preprocess, train
from stages.data.rows import Rows
from stages.network import activations
from stages.network.feed import Feed
from tests.stages import tiny
from tests.stages.test_activations import small, stored

SHARED = Path(__file__).resolve().parents[3] / "shared"
PHOTOGRAPHS, WEIGHTS = SHARED / "data" / "dogs_vs_cats_small", SHARED / "weights"
BACKBONES = {"resnet50": "resnet50_notop.weights.h5", "vgg16": "vgg16_notop.weights.h5"}


def test_values_are_rounded_and_take_half_the_bytes(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    whole, half = (stored(run.stage("train"), *small(4), dtype) for dtype in ("float32", "float16"))
    for a, b in zip(whole.arrays, half.arrays, strict=True):
        assert isinstance(a, Rows) and isinstance(b, Rows)
        assert a.nbytes == 2 * b.nbytes and b.dtype == np.float16
        assert np.array_equal(np.asarray(a).astype(np.float16), np.asarray(b))


def test_network_above_the_cut_computes_in_float32(tmp_path: Path) -> None:
    half = stored(tiny.start(tmp_path).stage("train"), *small(4), "float16")
    rows = np.arange(90)
    widened = Feed(half.model, tuple(np.asarray(array).astype(np.float32) for array in half.arrays))
    assert np.array_equal(half.predict(rows), widened.predict(rows))
    labels = np.arange(90) % 3
    half.model.compile("sgd", loss="sparse_categorical_crossentropy")
    losses = [half.model.test_on_batch(feed.take(rows), labels) for feed in (half, widened)]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_pooling_of_rounded_activations_is_not_rounded_again(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    flat, pooled = (stored(run.stage("train"), *small(0, pooling=pooling), "float16") for pooling in ("flatten", "avg"))
    assert pooled.take(np.arange(3)).dtype == np.float32
    means = np.asarray(flat.arrays[0]).astype(np.float32).mean(axis=(1, 2))
    np.testing.assert_allclose(np.asarray(pooled.arrays[0]), means, atol=1e-6)


def test_activations_too_large_for_float16_are_refused(tmp_path: Path) -> None:
    network, layers = small(0, pooling="flatten")
    kernel, bias = network.get_layer("conv3").get_weights()
    network.get_layer("conv3").set_weights([kernel * 1e7, bias])
    stage = tiny.start(tmp_path).stage("train")
    with pytest.raises(StageError, match="out has activations that are too large for float16") as caught:
        stored(stage, network, layers, "float16")
    assert "float32" in (caught.value.hint or "")
    assert np.asarray(stored(stage, network, layers, "float32").arrays[0]).max() > np.finfo(np.float16).max


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_evaluation_says_how_far_rounded_activations_are_from_the_pixels(tmp_path: Path, dtype: str) -> None:
    run = tiny.start(tmp_path)
    run.run("train", train.run, epochs=2, learning_rate=0.01, activations=dtype)
    stage = run.stage("evaluate")
    evaluate.run(stage)
    told = stage.measures["from_pixels"]
    assert told["images"] == 30 and told["tolerance"] == {"float32": 1e-4, "float16": 1e-2}[dtype]
    assert 0 <= told["difference"] <= told["tolerance"]
    assert len([notice for notice in stage.notices if "float16" in notice]) == (dtype == "float16")


@pytest.mark.slow
def test_activations_that_belong_to_other_images_are_noticed_in_float16_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.start(tmp_path)
    run.run("train", train.run, epochs=8, learning_rate=0.05, activations="float16")
    honest = activations.feed

    def rolled(*arguments: Any) -> Feed:
        feed = honest(*arguments)
        return Feed(feed.model, tuple(np.roll(np.asarray(array), 1, axis=0) for array in feed.arrays))

    monkeypatch.setattr(activations, "feed", rolled)
    with pytest.raises(StageError, match="stored float16 activations differ from the saved model's") as caught:
        evaluate.run(run.stage("evaluate"))
    assert "float32" in (caught.value.hint or "")


def photographs(folder: Path, model: str, *, size: int, images: dict[str, int]) -> tiny.Run:
    """A run with the artifacts of ingest, preprocess and build for so many photographs of each class in each split."""
    for split, number in images.items():
        for label in ("cats", "dogs"):
            (folder / "photographs" / split / label).mkdir(parents=True)
            for path in sorted((PHOTOGRAPHS / split / label).iterdir())[:number]:
                os.symlink(path, folder / "photographs" / split / label / path.name)
    run = Modules(folder)
    run.run("ingest", ingest.run, source=folder / "photographs", image_size=size)
    run.run("preprocess", preprocess.run, model=model)
    run.run("build", build.run, model=model, weights=WEIGHTS / BACKBONES[model])
    return run


class Modules(tiny.Run):
    """A run whose stages find the backbones."""

    def stage(self, name: str) -> Stage:
        plain = super().stage(name)
        modules = {model: f"stages.backbones.{model}" for model in BACKBONES}
        return Stage(inputs=plain.inputs, out=plain.out, scratch=plain.scratch, store=self.folder / "store", modules=modules)


def judged(run: tiny.Run, **settings: Any) -> tuple[float, float, dict[str, Any]]:
    """Test accuracy and log loss of a training, and how far evaluation is from the pixels."""
    run.run("train", train.run, **settings)
    stage = run.stage("evaluate")
    evaluate.run(stage)
    test = json.loads((stage.out / "metrics.json").read_text())["test"]
    return test["accuracy"], test["log_loss"], stage.measures["from_pixels"]


@pytest.mark.slow
@pytest.mark.skipif(not (PHOTOGRAPHS.is_dir() and WEIGHTS.is_dir()), reason="the shared photographs and weights are not here")
@pytest.mark.parametrize(("model", "pooling"), [("resnet50", "avg"), ("vgg16", "flatten")])
def test_photographs_are_told_apart_as_well_from_float16_activations(tmp_path: Path, model: str, pooling: str) -> None:
    run = photographs(tmp_path, model, size=96, images={"train": 100, "validation": 50, "test": 50})
    settings: dict[str, Any] = {
        "epochs": 10, "learning_rate": 1e-4, "batch_size": 20, "pooling": pooling, "units": 256, "dropout": 0.4,
    }  # fmt: skip
    whole, half = (judged(run, **settings, activations=dtype) for dtype in ("float32", "float16"))
    assert whole[0] > 0.65
    assert abs(whole[0] - half[0]) <= 0.02  # of 100 images
    assert half[1] == pytest.approx(whole[1], rel=0.05, abs=0.01)
    assert half[2]["difference"] <= half[2]["tolerance"] / 4
