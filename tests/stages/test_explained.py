"""The images that evaluate explains: which they are, what is said of them, and that their heat maps are those of the network."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages import evaluate, json_files, train
from stages.evaluation import explained
from stages.evaluation.trained import Trained
from stages.network import activations, keras_files
from stages.network.grad_cam import GradCam
from tests.stages import tiny

HOW = {
    "pixels": {"unfreeze": "all"},
    "stored below": {"unfreeze": 4},
    "stored at": {"unfreeze": 0, "pooling": "flatten"},
    "pooled": {"unfreeze": 0},
}


@pytest.fixture(
    scope="module", params=["stored below", *(pytest.param(how, marks=pytest.mark.slow) for how in HOW if how != "stored below")]
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tiny.Run:
    """A trained and evaluated network that starts from pixels, or from activations stored below or at what is explained."""
    run = tiny.start(tmp_path_factory.mktemp("explained"), images=180)
    run.run("train", train.run, epochs=3, batch_size=16, learning_rate=0.03, **HOW[request.param])
    run.run("evaluate", evaluate.run)
    return run


def told(run: tiny.Run) -> dict[str, Any]:
    return dict(json_files.read(run.inputs["evaluate"] / "explained.json"))


def predictions_of(run: tiny.Run) -> dict[int, dict[str, str]]:
    """Predictions on the test images by row."""
    with (run.inputs["evaluate"] / "predictions.csv").open(newline="") as file:
        return {int(line["row"]): line for line in csv.DictReader(file) if line["split"] == "test"}


@pytest.mark.slow
def test_what_is_said_of_an_image_is_what_was_predicted(run: tiny.Run) -> None:
    predictions = predictions_of(run)
    for image in told(run)["images"]:
        line = predictions[image["row"]]
        assert (image["path"], image["label"], image["predicted"]) == (line["path"], line["label"], line["predicted"])
        assert image["probability_of_label"] == float(line[f"p_{line['label']}"])
        assert image["probability_of_predicted"] == float(line[f"p_{line['predicted']}"])
        assert image["loss"] == float(line["loss"]) == pytest.approx(-np.log(image["probability_of_label"]), abs=1e-6)


def test_a_sure_mistake_has_the_loss_of_the_table_of_predictions(run: tiny.Run, tmp_path: Path) -> None:
    trained = Trained.read(run.stage("evaluate"))
    rows = trained.labels.rows("test")[:2]
    probabilities = np.where(trained.labels.index[rows][:, None] == np.arange(len(tiny.CLASSES)), 1e-12, 1).astype(np.float32)
    evaluate.write_predictions(tmp_path / "predictions.csv", trained.labels, rows, probabilities)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        losses = [float(line["loss"]) for line in csv.DictReader(file)]
    images = [explained.told(trained, row, values) for row, values in zip(rows, probabilities, strict=True)]
    assert [image["loss"] for image in images] == losses and losses[0] == pytest.approx(-np.log(1e-12), rel=1e-6)


def test_images_of_the_highest_loss_come_first_then_right_ones(run: tiny.Run) -> None:
    images = told(run)["images"]
    worst = [image for image in images if image["kind"] == "loss"]
    right = images[len(worst) :]
    by_loss = sorted(predictions_of(run).values(), key=lambda line: float(line[f"p_{line['label']}"]))
    assert [image["path"] for image in worst] == [line["path"] for line in by_loss[: explained.MOST]]
    assert len(worst) == 12 and right and all(image["kind"] == "right" for image in right)
    others = {line["path"] for line in by_loss[explained.MOST :] if line["correct"] == "1"}
    assert {image["path"] for image in right} <= others and len(right) == min(len(others), explained.MOST)
    assert all(image["label"] == image["predicted"] for image in right)


def test_heat_maps_are_those_of_the_saved_network_from_its_pixels(run: tiny.Run) -> None:
    network, found = keras_files.read(run.inputs["train"] / "model.keras"), told(run)
    heat, pixels = np.load(run.inputs["evaluate"] / "heat.npy"), np.load(run.inputs["ingest"] / "images.npy")
    cam = GradCam.of(network)
    assert (found["layer"], found["places"], found["last"]) == ("out", [10, 10], True)
    numbers = []
    for image in found["images"]:
        assert set(image["maps"]) == {image["label"], image["predicted"]}
        for name, number in image["maps"].items():
            maps = cam.below.predict_on_batch(pixels[[image["row"]]])
            plain = cam.heat(maps, np.array([tiny.CLASSES.index(name)]))[0]
            wanted = 255 * plain / plain.max() if plain.any() else plain
            np.testing.assert_allclose(heat[number], wanted, atol=1)
            numbers.append(number)
    assert sorted(numbers) == list(range(len(heat))) and heat.dtype == np.uint8
    assert (heat.max(axis=(1, 2)) == 255).sum() > len(heat) / 2


@pytest.mark.slow
def test_only_the_images_that_are_shown_are_computed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny.start(tmp_path)
    run.run("train", train.run, epochs=1, learning_rate=0.01)
    rows: list[int] = []
    honest = activations.lacking

    def forgotten(memo: Any, images: Any) -> Any:
        """As if nothing below the pooling were stored any more."""
        if len(images.rows) == 90 or rows:
            return honest(memo, images)
        rows.extend(images.rows.tolist())
        return {0: images.rows}

    monkeypatch.setattr(activations, "lacking", forgotten)
    evaluate.run(run.stage("evaluate"))
    assert 12 <= len(rows) <= 15


def test_a_network_that_is_always_right_has_its_least_sure_images_shown() -> None:
    labels = np.arange(30, dtype=np.int32) % 2
    sure = np.linspace(0.6, 0.99, 30, dtype=np.float32)[np.random.default_rng(0).permutation(30)]
    probabilities = np.where(labels[:, None] == np.arange(2), sure[:, None], 1 - sure[:, None]).astype(np.float32)
    worst = explained.by_loss(probabilities, labels)
    assert worst.tolist() == np.argsort(sure)[:12].tolist()
    right = explained.among_right(np.ones(30, bool), worst)
    assert len(set(right)) == 12 and not set(right) & set(worst)
    assert right.tolist() == explained.among_right(np.ones(30, bool), worst).tolist()


def test_of_equal_losses_the_first_is_first_and_those_beyond_what_keras_counts_differ() -> None:
    label = np.array([1e-9, 0.5, 1e-12, 1e-9], np.float32)
    assert explained.by_loss(np.stack([1 - label, label], axis=1), np.ones(4, np.int32)).tolist() == [2, 0, 3, 1]


@pytest.mark.parametrize(("size", "expected"), [((5, 16), (5, 16)), ((40, 7), (16, 7)), ((33, 64), (16, 16))])
def test_large_maps_become_means_over_their_places(size: tuple[int, int], expected: tuple[int, int]) -> None:
    heat = np.random.default_rng(1).random((2, *size)).astype(np.float32)
    small = explained.coarse(heat)
    assert small.shape == (2, *expected)
    for y, x in ((0, 0), (3, 5), (expected[0] - 1, expected[1] - 1)):
        (top, bottom), (left, right) = (
            [n * at // m for at in (i, i + 1)] for i, n, m in zip((y, x), size, expected, strict=True)
        )
        assert small[1, y, x] == pytest.approx(heat[1, top:bottom, left:right].mean(), rel=1e-6)


def test_each_map_is_scaled_by_itself_and_an_empty_one_stays_empty() -> None:
    heat = np.array([[[0, 1], [2, 4]], [[0, 0], [0, 0]], [[1e-9, 0], [0, 2e-9]]], np.float32)
    assert explained.scaled(heat).tolist() == [[[0, 64], [128, 255]], [[0, 0], [0, 0]], [[128, 0], [0, 255]]]
