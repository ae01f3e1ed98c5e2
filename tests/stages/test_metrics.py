"""Metrics equal scikit-learn's, and say what they say on numbers that can be checked by hand."""

import keras
import numpy as np
import pytest
import sklearn.metrics
from scipy.special import softmax

from stages.evaluation import calibration, metrics
from stages.network.scores import cross_entropies, loss_and_accuracy, of_logits


@pytest.fixture
def predicted() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities.astype(np.float32).astype(np.float64), rng.integers(0, 3, 200).astype(np.int32)


def test_metrics_equal_scikit_learns(predicted: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = predicted
    told = metrics.of_split(probabilities, labels, ["a", "b", "c"], 0)
    guess = probabilities.argmax(axis=1)
    assert told["accuracy"] == sklearn.metrics.accuracy_score(labels, guess)
    assert told["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(labels, guess, average="macro"))
    assert told["log_loss"] == pytest.approx(
        sklearn.metrics.log_loss(labels, probabilities / probabilities.sum(1, keepdims=True))
    )
    assert told["confusion"] == sklearn.metrics.confusion_matrix(labels, guess).tolist()
    report = sklearn.metrics.classification_report(labels, guess, target_names=["a", "b", "c"], output_dict=True)
    for name, numbers in told["per_class"].items():
        assert numbers["precision"] == pytest.approx(report[name]["precision"])
        assert numbers["recall"] == pytest.approx(report[name]["recall"])
        assert numbers["support"] == report[name]["support"]


def saturated(images: int) -> tuple[np.ndarray, np.ndarray]:
    """What a network writes that is far too sure: many probabilities are exactly 0 or 1, and no row sums to 1 exactly."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, images).astype(np.int32)
    logits = 60 * (rng.normal(size=(images, 3)) + 0.8 * np.eye(3)[labels])
    return softmax(logits.astype(np.float32), axis=1).astype(np.float64), labels


def test_a_saturated_network_has_the_area_of_its_predictions() -> None:
    probabilities, labels = saturated(300)
    told = metrics.of_split(probabilities, labels, ["a", "b", "c"], 0)
    areas = [sklearn.metrics.roc_auc_score(labels == k, probabilities[:, k]) for k in range(3)]
    assert told["auc"] == pytest.approx(np.mean(areas), rel=1e-12)


def test_every_log_loss_of_the_same_images_is_the_same() -> None:
    probabilities, labels = saturated(300)
    own = probabilities[np.arange(300), labels]
    assert own.min() < np.finfo(np.float64).eps
    losses = [
        -np.log(own.clip(np.finfo(np.float32).tiny)).mean(),
        metrics.of_split(probabilities, labels, ["a", "b", "c"], 0)["log_loss"],
        calibration.tell((probabilities, labels), (probabilities, labels))["before"]["log_loss"],
        cross_entropies(probabilities, labels).mean(),
        loss_and_accuracy(probabilities.astype(np.float32), labels)[0],
    ]
    assert losses == pytest.approx([losses[0]] * 5, rel=1e-12)


def test_a_confusion_matrix_has_the_true_classes_as_rows() -> None:
    told = metrics.of_split(np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]), np.array([0, 0, 1], np.int32), ["a", "b"], 1)
    assert told["confusion"] == [[0, 2], [0, 1]]
    assert told["majority_accuracy"] == pytest.approx(1 / 3)
    assert told["per_class"]["a"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2}


def test_a_class_that_no_image_has_is_counted_as_zero() -> None:
    told = metrics.of_split(np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]), np.array([0, 1], np.int32), ["a", "b", "c"], 0)
    assert told["per_class"]["c"]["support"] == 0
    assert told["accuracy"] == 1.0


def test_the_interval_is_wilsons() -> None:
    low, high = metrics.interval(90, 100)
    assert low == pytest.approx(0.8256, abs=1e-4)  # Wilson 1927, as statsmodels and R's binom give it
    assert high == pytest.approx(0.9448, abs=1e-4)
    assert metrics.interval(0, 10)[0] == 0.0


def test_loss_of_an_impossible_label_is_a_number() -> None:
    loss, accuracy = loss_and_accuracy(np.array([[0.0, 1.0], [0.0, 1.0]], np.float32), np.array([0, 1], np.int32))
    assert loss == pytest.approx(-np.log(np.finfo(np.float32).tiny) / 2)
    assert accuracy == 0.5


def test_loss_of_logits_is_kerass_and_has_no_upper_bound() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 200, (50, 4)).astype(np.float32), rng.integers(0, 4, 50).astype(np.int32)
    loss, accuracy = of_logits(logits, labels)
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    assert loss == pytest.approx(float(expected), rel=1e-5) and loss > -np.log(1e-7)
    assert accuracy == sklearn.metrics.accuracy_score(labels, logits.argmax(axis=1))
    calm = logits / 100
    assert of_logits(calm, labels) == pytest.approx(loss_and_accuracy(softmax(calm, axis=1), labels), rel=1e-5)
