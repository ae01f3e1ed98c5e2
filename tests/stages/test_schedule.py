"""Learning rates step by step, against arithmetic."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from stages.training.phases import Phase
from stages.training.schedule import Plateau, Scaled, rate_at, schedule

STEPS = 5  # of an epoch


def rates(phase: Phase, rate: float = 0.2) -> np.ndarray:
    followed = schedule(phase, rate, STEPS)
    return np.array([rate_at(followed, step) for step in range(phase.epochs * STEPS)])


def phase(name: str, warmup: float = 0.0, epochs: int = 4) -> Phase:
    return Phase(0, epochs, 0.2, schedule=name, warmup=warmup)


@pytest.mark.parametrize("name", ["constant", "plateau"])
def test_constant_rate_is_the_number_itself(name: str) -> None:
    assert schedule(phase(name), 0.2, STEPS) == 0.2


@pytest.mark.parametrize("warmup", [0.0, 1.6])
def test_cosine_falls_from_the_rate_to_nothing(warmup: float) -> None:
    rising = round(warmup * STEPS)
    steps = np.arange(20 - rising)
    expected = [*(0.2 * np.arange(rising) / max(rising, 1)), *(0.1 * (1 + np.cos(np.pi * steps / len(steps))))]
    np.testing.assert_allclose(rates(phase("cosine", warmup)), expected, rtol=1e-5, atol=1e-8)


def test_step_is_a_tenth_at_half_and_again_at_three_quarters() -> None:
    np.testing.assert_allclose(rates(phase("step")), [0.2] * 10 + [0.02] * 5 + [0.002] * 5, rtol=1e-6)


def test_drops_of_step_are_counted_after_the_warmup() -> None:
    expected = [0.0, 0.05, 0.1, 0.15, *[0.2] * 8, *[0.02] * 4, *[0.002] * 4]
    np.testing.assert_allclose(rates(phase("step", 0.8)), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["constant", "plateau"])
def test_rate_stays_after_the_warmup(name: str) -> None:
    np.testing.assert_allclose(rates(phase(name, 0.4)), [0.0, 0.1, *[0.2] * 18], rtol=1e-6)


@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
def test_phase_of_one_step_has_a_rate(name: str) -> None:
    assert [rate_at(schedule(phase(name, epochs=1), 0.2, 1), 0)] == [0.2]
    assert np.isfinite(rate_at(schedule(phase(name, 0.9, epochs=1), 0.2, 2), 1))


def test_rate_is_told_in_the_fewest_digits() -> None:
    assert repr(rate_at(schedule(phase("step"), 0.2, STEPS), 19)) == "0.002"


def test_plateau_remembers_through_a_crash() -> None:
    """Patience 2: two epochs that are not better than the best by more than 1e-4 lower the rate."""
    losses = [1.0, 0.9, 0.95, 0.89995, 0.8, 0.9, 0.9, 0.9, 0.9]
    scale = keras.Variable(1.0)
    followed, state, told = Scaled(0.2, scale), {}, []
    for epoch, loss in enumerate(losses, 1):
        told.append(rate_at(followed, epoch))
        state = Plateau(2, scale, state).after_epoch(epoch, loss)  # anew from its state every time
    assert told == pytest.approx([0.2, 0.2, 0.2, 0.2, 0.02, 0.02, 0.02, 0.002, 0.002])
