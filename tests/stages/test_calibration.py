"""Calibration: errors by hand, the temperature that was put in, nothing changed but confidence; and what the page says of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import sklearn.calibration
from numpy.typing import NDArray
from scipy.special import softmax

from stages.evaluation import calibration
from stages.reporting.calibration import verdict
from stages.reporting.results import Result

Drawn = tuple[NDArray[np.float64], NDArray[np.int32]]


def draw(seed: int, images: int, sharpened: float = 1.0, classes: int = 3) -> Drawn:
    """Labels drawn from the probabilities themselves, which are then told sharper than they are."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(images, classes))
    true = softmax(logits, axis=1)
    labels = (rng.random((images, 1)) > true.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return softmax(sharpened * logits, axis=1), labels.astype(np.int32)


@pytest.mark.parametrize("sharpened", [0.5, 1.0, 3.0])
def test_the_temperature_is_the_one_that_was_put_in(sharpened: float) -> None:
    assert calibration.temperature(*draw(0, 20_000, sharpened)) == pytest.approx(sharpened, rel=0.05)


@pytest.mark.parametrize("sharpened", [0.5, 3.0])
def test_tempering_mends_the_test_images_and_renames_none(sharpened: float) -> None:
    told = calibration.tell(draw(0, 2000, sharpened), draw(1, 2000, sharpened))
    assert told["after"]["error"] < 0.04 < 0.1 < told["before"]["error"]
    assert told["after"]["log_loss"] < told["before"]["log_loss"]
    probabilities, _ = draw(1, 2000, sharpened)
    assert (calibration.tempered(probabilities, told["temperature"]).argmax(1) == probabilities.argmax(1)).all()


def test_a_calibrated_network_is_left_as_it_is() -> None:
    told = calibration.tell(draw(0, 5000), draw(1, 5000))
    assert told["temperature"] == pytest.approx(1, abs=0.05) and told["before"]["error"] < 0.03


def test_the_bins_are_scikit_learns_quantile_bins() -> None:
    probabilities, labels = draw(2, 1500, 2.0)
    right = probabilities.argmax(axis=1) == labels
    accuracy, confidence = sklearn.calibration.calibration_curve(right, probabilities.max(axis=1), n_bins=15, strategy="quantile")
    bins = calibration.reliability(probabilities, labels)["bins"]
    np.testing.assert_allclose([part["confidence"] for part in bins], confidence, atol=2e-3)
    np.testing.assert_allclose([part["accuracy"] for part in bins], accuracy, atol=0.02)


def test_the_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    labels = np.array([0] * 5 + [1] * 5 + [1] * 10, np.int32)
    told = calibration.reliability(probabilities, labels)
    assert told["bins"] == [
        {"confidence": pytest.approx(0.6), "accuracy": 1.0, "images": 10},
        {"confidence": pytest.approx(0.9), "accuracy": 0.5, "images": 10},
    ]
    assert told["error"] == pytest.approx((0.4 + 0.4) / 2)


@pytest.mark.parametrize("certain", [0.0, 0.3, 0.97])
@pytest.mark.parametrize("digits", [0, 1, 2, 12])
def test_the_order_of_the_images_changes_nothing(digits: int, certain: float) -> None:
    probabilities, labels = draw(4, 200)
    probabilities = np.where(np.arange(200)[:, None] < 200 * certain, np.eye(3)[[0]], probabilities.round(digits))
    told = calibration.reliability(probabilities, labels)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(200)
        other = calibration.reliability(probabilities[order], labels[order])
        assert other["error"] == pytest.approx(told["error"], abs=1e-12)
        assert [part["images"] for part in other["bins"]] == [part["images"] for part in told["bins"]]


def test_equal_probabilities_lie_in_one_bin() -> None:
    told = calibration.reliability(np.tile([0.5000001, 0.4999999], (200, 1)), np.repeat(np.array([0, 1], np.int32), 100))
    assert told["error"] == pytest.approx(1e-7) and [part["images"] for part in told["bins"]] == [200]


@pytest.mark.parametrize("images", [155, 270, 1999])
def test_different_probabilities_fill_all_bins_alike(images: int) -> None:
    counts = [part["images"] for part in calibration.reliability(*draw(5, images))["bins"]]
    assert len(counts) == calibration.BINS and sum(counts) == images and max(counts) - min(counts) <= 1


@pytest.mark.parametrize("images", [1, 5, 40])
def test_few_images_have_few_bins(images: int) -> None:
    assert len(calibration.reliability(*draw(3, images))["bins"]) == max(images // 10, 1)


def test_certain_probabilities_are_no_infinite_loss() -> None:
    certain = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    told = calibration.tell((certain, np.array([0, 1, 1], np.int32)), (certain, np.array([0, 0, 0], np.int32)))
    assert np.isfinite([told["temperature"], told["before"]["log_loss"], told["after"]["log_loss"]]).all()


def said(told: dict[str, Any]) -> str:
    return verdict(cast(Result, SimpleNamespace(metrics={"calibration": told})))


def answers(confidence: Any, right: Any) -> Drawn:
    """Two classes, the first the true one: with what probability a class is named, and whether it is the true one."""
    given = np.where(right, confidence, 1 - np.asarray(confidence))
    return np.stack([given, 1 - given], axis=1), np.zeros(len(given), np.int32)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_calibrated_networks_error_is_that_of_labels_drawn_again(classes: int) -> None:
    probabilities, labels = draw(0, 150, classes=classes)
    told = calibration.reliability(probabilities, labels)["calibrated"]
    rng = np.random.default_rng(1)
    drawn = (rng.random((150, 1)) > probabilities.cumsum(axis=1)[:, :-1] for _ in range(200))
    again = [calibration.reliability(probabilities, above.sum(axis=1).astype(np.int32)) for above in drawn]
    assert told["error"] == pytest.approx(np.mean([one["error"] for one in again]), abs=0.004)
    assert told["error_95"] == pytest.approx(np.quantile([one["error"] for one in again], 0.95), abs=0.01)
    assert told["gap_95"] == pytest.approx(np.quantile([abs(one["gap"]) for one in again], 0.95), abs=0.01)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("images", [20, 150, 500])
def test_nothing_is_said_against_a_calibrated_network(images: int, classes: int) -> None:
    told = [
        said(calibration.tell(draw([0, seed], images, 1, classes), draw([1, seed], images, 1, classes))) for seed in range(30)
    ]
    assert sum(not text.startswith(("Probabilities may be read", "No miscalibration is shown")) for text in told) <= 4
    assert all("those of a calibrated network would be by 0." in text and f"on {images} test images" in text for text in told)


@pytest.mark.parametrize(("sharpened", "direction"), [(0.3, "not sure enough"), (3.0, "too sure")])
@pytest.mark.parametrize("images", [150, 1000])
def test_a_miscalibrated_network_is_told_its_direction_and_what_mends_it(images: int, sharpened: float, direction: str) -> None:
    text = said(calibration.tell(draw(0, images, sharpened), draw(1, images, sharpened)))
    assert text.startswith(f"The network is {direction}: its probabilities are off by 0.")
    assert "as fitted on validation, brings that to 0." in text


def test_the_direction_is_that_of_the_test_images_whatever_the_temperature() -> None:
    right = np.arange(300) >= 6
    seldom_right = answers(np.where(right, 0.85, 0.99999999), right)
    told = calibration.tell(seldom_right, seldom_right)
    assert told["temperature"] > 1 and told["before"]["gap"] == pytest.approx(0.853 - 0.98, abs=1e-3)
    assert said(told).startswith("The network is not sure enough:") and "does not mend that" in said(told)
    told = calibration.tell(draw(0, 1000, 0.3), draw(1, 1000, 3.0))
    assert told["temperature"] < 1 and said(told).startswith("The network is too sure:")


def test_errors_that_cancel_have_no_direction() -> None:
    half = np.arange(400) < 200
    both = answers(np.where(half, 0.9, 0.6), np.where(half, np.arange(400) % 10 < 6, np.arange(400) % 10 < 9))
    told = calibration.tell(both, both)
    assert told["before"]["error"] == pytest.approx(0.3) and told["before"]["gap"] == pytest.approx(0, abs=1e-9)
    assert said(told).startswith("The network's probabilities are off by 0.300 on average")


@pytest.mark.parametrize(("validated", "end"), [(True, "0.05"), (False, "20.00")])
def test_a_temperature_at_the_end_of_those_tried_is_no_remedy(validated: bool, end: str) -> None:
    validation = answers(np.full(60, 0.9), np.full(60, validated))
    told = calibration.tell(validation, answers(np.full(300, 0.7), np.arange(300) % 20 > 0))
    assert told["limited"]
    assert said(told).endswith(f"Validation tells no temperature: its loss is smallest at {end}, the last one that was tried.")
    assert not calibration.tell(draw(0, 300, 3.0), draw(1, 300, 3.0))["limited"]


@pytest.mark.parametrize("worse", ["error", "log_loss"])
def test_a_temperature_that_makes_the_test_images_worse_is_no_remedy(worse: str) -> None:
    told = calibration.tell(draw(0, 1000, 3.0), draw(1, 1000, 3.0))
    assert "brings that to" in said(told)
    told["after"][worse] = told["before"][worse] + 0.01
    assert "brings that to" not in said(told) and "does not mend that" in said(told)
