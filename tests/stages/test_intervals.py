"""Weighted metrics equal scikit-learn's; intervals hold what they should as often as they say."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from numpy.typing import NDArray
from scipy.special import softmax

from stages import bootstrap
from stages.evaluation import metrics, weighted

Drawn = tuple[NDArray[np.float64], NDArray[np.int32]]
METRICS = [weighted.accuracy, weighted.log_loss, weighted.macro_f1, weighted.auc]


def draw(seed: Any, images: int, classes: int = 3, ties: bool = False) -> Drawn:
    """Probabilities that are right more often than not."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes))
    logits[np.arange(images), labels] += 1.5
    return softmax(logits.round(0 if ties else 12), axis=1), labels.astype(np.int32)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_weighted_metrics_equal_scikit_learns(classes: int, ties: bool) -> None:
    probabilities, labels = draw(classes, 300, classes, ties)
    weights = np.random.default_rng(1).integers(0, 4, (5, 300)).astype(np.float64)
    named, scores = probabilities.argmax(axis=1), probabilities[:, 1] if classes == 2 else probabilities
    truth: dict[Callable[..., bootstrap.Statistic], Callable[[NDArray[np.float64]], float]] = {
        weighted.accuracy: lambda w: sklearn.metrics.accuracy_score(labels, named, sample_weight=w),
        weighted.log_loss: lambda w: sklearn.metrics.log_loss(labels, probabilities, sample_weight=w),
        weighted.macro_f1: lambda w: sklearn.metrics.f1_score(labels, named, average="macro", sample_weight=w),
        weighted.auc: lambda w: sklearn.metrics.roc_auc_score(labels, scores, multi_class="ovr", sample_weight=w),
    }
    for metric, expected in truth.items():
        np.testing.assert_allclose(metric(probabilities, labels)(weights), [expected(w) for w in weights], rtol=1e-9)


def test_the_area_of_many_classes_copies_no_weights_for_each_of_them() -> None:
    statistic = weighted.auc(*draw(0, 1000, 50))
    weights = np.random.default_rng(1).integers(0, 4, (200, 1000)).astype(np.float64)
    tracemalloc.start()
    statistic(weights)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * weights.nbytes


def test_what_is_not_defined_has_no_number() -> None:
    probabilities, labels = draw(0, 40, 3)
    labels[labels == 2] = 0
    told = metrics.of_split(probabilities, labels, ["a", "b", "c"], 0)
    assert told["auc"] is None and told["auc_interval"] is None and told["macro_f1_interval"][0] < told["macro_f1"]
    probabilities[:, 2], probabilities[labels == 0, 0] = 0, 5
    without = metrics.of_split(probabilities, labels, ["a", "b", "c"], 0)
    named = probabilities.argmax(axis=1)
    assert without["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(labels, named, average="macro", labels=[0, 1]))


def test_the_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).exponential(size=150)
    expected = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", random_state=0).confidence_interval
    found = bootstrap.interval(weighted.mean(values), 150)
    assert found == pytest.approx((expected.low, expected.high), abs=0.02)


def test_the_same_images_have_the_same_interval() -> None:
    statistic = weighted.auc(*draw(0, 100))
    assert bootstrap.interval(statistic, 100) == bootstrap.interval(statistic, 100)
    assert bootstrap.interval(statistic, 100, level=0.5) != bootstrap.interval(statistic, 100)


def without_a_mistake(images: int, sureness: float = 0.7) -> Drawn:
    """Every image named rightly, with the same probability."""
    labels = (np.arange(images) % 3).astype(np.int32)
    return np.where(np.eye(3)[labels] > 0, sureness, (1 - sureness) / 2), labels


@pytest.mark.parametrize("sureness", [1 / 3, 0.7, 1.0])
@pytest.mark.parametrize("images", [3, 37, 1000])
@pytest.mark.parametrize("metric", METRICS)
def test_a_statistic_that_no_resample_changes_has_no_interval(metric: Any, images: int, sureness: float) -> None:
    assert bootstrap.interval(metric(*without_a_mistake(images, sureness)), images) is None


def test_the_only_image_has_no_intervals() -> None:
    told = metrics.of_split(np.array([[0.6, 0.4]]), np.array([0], np.int32), ["a", "b"], 0)
    assert told["log_loss"] == pytest.approx(-np.log(0.6))
    assert [told[f"{name}_interval"] for name in ("macro_f1", "log_loss", "auc")] == [None] * 3


@pytest.mark.parametrize("found", [-0.1, 1.1])
def test_a_value_beyond_all_resamples_has_no_interval(found: float) -> None:
    values = np.linspace(0, 1, 400)
    assert bootstrap.bca(values, found, values[:50]) is None and bootstrap.bca(values, 0.4, values[:50]) is not None


def test_many_images_and_classes_are_not_looked_at_more_than_can_be_afforded(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        counts.append(len(weights))
        return weights[:, 0]

    monkeypatch.setattr(bootstrap, "GROUPS", 2)
    bootstrap.interval(statistic, 2000, classes=1000)
    assert sum(counts) == bootstrap.LEAST + 3  # as they are, and the two groups of the jackknife


SIMULATIONS, IMAGES = 2000, 250


def covered(found: list[tuple[float, float] | None], true: float) -> float:
    return float(np.mean([interval is not None and interval[0] <= true <= interval[1] for interval in found]))


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_intervals_hold_the_truth_as_often_as_they_say(metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "MOST", 400)
    monkeypatch.setattr(bootstrap, "GROUPS", 50)
    whole = draw(b"whole"[0], 400_000)
    true = float(metric(*whole)(np.ones((1, 400_000)))[0])
    found = [bootstrap.interval(metric(*draw([1, seed], IMAGES)), IMAGES, seed=seed) for seed in range(SIMULATIONS)]
    assert covered(found, true) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_wilsons_interval_holds_the_truth_as_often_as_it_says(share: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = np.random.default_rng(0).binomial(500, share, 5 * SIMULATIONS)
        ends = {count: metrics.interval(int(count), 500) for count in np.unique(drawn)}
    held = np.mean([ends[count][0] <= share <= ends[count][1] for count in drawn])
    assert held == pytest.approx(0.95, abs=0.015)
