"""Intervals of paired differences and of means over seeds hold what they should as often as they say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import norm

from stages import bootstrap
from stages.reporting.resampled import METRICS, Metrics, Resampled
from stages.reporting.two_level import critical, two_level

Values = NDArray[np.float64]
SIMULATIONS, IMAGES = 2000, 250
HARD = 2.0  # standard deviation of the images' hardness, where the noise of a training on an image has 1


def covered(found: list[tuple[float, float] | None], true: float) -> float:
    return float(np.mean([interval is not None and interval[0] <= true <= interval[1] for interval in found]))


def two_branches(seed: list[int], images: int, classes: int = 3) -> list[Any]:
    """Two networks with much in common; the first is better."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    shared = rng.normal(size=(images, classes))
    shared[np.arange(images), labels] += 1.5
    found = []
    for number, noise in enumerate((0.7, 1.1), 1):
        probabilities = softmax(shared + noise * rng.normal(size=shared.shape), axis=1)
        predicted = probabilities.argmax(axis=1)
        loss = -np.log(probabilities[np.arange(images), labels])
        test = pd.DataFrame({"label": labels, "predicted": predicted, "correct": predicted == labels, "loss": loss})
        found.append(SimpleNamespace(number=number, test=test))
    return found


@pytest.mark.slow
def test_bootstrap_intervals_of_differences_hold_the_truth_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "MOST", 400)
    monkeypatch.setattr(bootstrap, "GROUPS", 50)
    true = np.subtract(*Metrics(two_branches([0], 400_000)).of(np.ones((1, 400_000)))[:, :, 0].T)
    found = []
    for seed in range(SIMULATIONS):
        one, other = two_branches([1, seed], IMAGES)
        found.append(Resampled([one, other], seed).differences(one, other))
    for name, difference in zip(METRICS, true, strict=True):
        assert covered([told[name].interval for told in found], difference) == pytest.approx(0.95, abs=0.015), name


def trainings(rng: np.random.Generator, seeds: int, mean: float, between: float, shared: Values, own: float = 0.0) -> Values:
    """Whether so many trainings are right on every image, (S, N): a probit model of seed, image, and both together.

    `shared` is what makes an image hard for every network, `own` what makes it hard for this one; on average a share `mean` is
    right.
    """
    images = shared.shape[1]
    spread = np.sqrt(HARD**2 + own**2 + between**2 + 1)
    easy = shared + own * rng.normal(size=(1, images)) + between * rng.normal(size=(seeds, 1))
    return (norm.ppf(mean) * spread + easy + rng.normal(size=(seeds, images)) > 0).astype(float)


def hardness(rng: np.random.Generator) -> Values:
    return HARD * rng.normal(size=(1, IMAGES))


VARIATION = [0.0, 0.15, 0.5]  # of the seeds; that of the images is HARD
SEEDS = [2, 3, 5]


def tolerance(seeds: int) -> float:
    """Two seeds are few: Satterthwaite's degrees of freedom, and half-widths added in squares, are further off."""
    return 0.025 if seeds == 2 else 0.015


@pytest.mark.slow
@pytest.mark.parametrize("between", VARIATION)
@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("mean", [0.8, 0.95])
def test_the_interval_of_a_mean_accuracy_holds_the_truth_as_often_as_it_says(mean: float, seeds: int, between: float) -> None:
    rng = np.random.default_rng([2, seeds])
    found = [two_level(trainings(rng, seeds, mean, between, hardness(rng))).share_interval() for _ in range(2 * SIMULATIONS)]
    assert covered(found, mean) == pytest.approx(0.95, abs=tolerance(seeds))


@pytest.mark.slow
@pytest.mark.parametrize("between", VARIATION)
@pytest.mark.parametrize("seeds", SEEDS)
def test_the_interval_of_a_difference_over_seeds_holds_the_truth_as_often_as_it_says(seeds: int, between: float) -> None:
    rng = np.random.default_rng([3, seeds])
    found = []
    for _ in range(2 * SIMULATIONS):
        shared = hardness(rng)
        one, other = (trainings(rng, seeds, mean, between, shared, own=0.5) for mean in (0.9, 0.87))
        found.append(two_level(one - other).interval())
    assert covered(found, 0.03) == pytest.approx(0.95, abs=tolerance(seeds))


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_of_a_difference_of_losses_holds_the_truth_as_often_as_it_says(seeds: int) -> None:
    rng = np.random.default_rng([4, seeds])
    found = []
    for _ in range(2 * SIMULATIONS):
        hard = rng.exponential(0.3, (1, IMAGES))
        one, other = (hard * rng.gamma(4, scale / 4, (seeds, IMAGES)) + 0.03 * rng.normal(size=(seeds, 1)) for scale in (1, 1.2))
        found.append(two_level(one - other).interval())
    assert covered(found, -0.06) == pytest.approx(0.95, abs=0.015)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 4, 5, 10])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_critical_values_hold_whatever_the_seeds_share_of_the_variance(seeds: int, share: float) -> None:
    rng = np.random.default_rng(5)
    draws = 20_000
    of_seeds = share * rng.chisquare(seeds - 1, draws) / (seeds - 1)
    variance = of_seeds + 1 - share
    grid = np.linspace(0, 1, 1001)
    values = np.interp(of_seeds / variance, grid, [critical(0.025, part, seeds) for part in grid])
    assert np.mean(np.abs(rng.normal(size=draws)) <= values * np.sqrt(variance)) == pytest.approx(0.95, abs=0.012)
