"""Calibration: errors by hand, the temperature that was put in, and nothing changed but confidence."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.calibration
from numpy.typing import NDArray
from scipy.special import softmax

from stages import calibration

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
