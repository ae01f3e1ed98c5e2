"""What a BatchNormalization layer remembers of what it was given, beside what it is given now."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from stages.network.feed import Array, Feed

LEFT = np.linspace(0, 1, 101)  # share of the moving statistics that is still the 0 and 1 with which they began

Moments = tuple[NDArray[np.float64], NDArray[np.float64]]  # mean and variance of every channel


def moments(below: keras.Model, pixels: Array, images: int) -> Moments:
    """Of what a model makes of so many images."""
    entering = Feed(below, (pixels,)).predict(np.arange(images))
    return entering.mean((0, 1, 2), dtype=np.float64), entering.var((0, 1, 2), dtype=np.float64)


def divergence(layer: keras.layers.BatchNormalization, mean: Any, variance: Any) -> float:
    """How far what enters a layer is from its moving statistics.

    Mean over the channels of the Kullback-Leibler divergence between normal distributions with the measured and the stored
    mean and variance, in nats.
    """
    stored_mean, stored = (np.asarray(v, np.float64) for v in (layer.moving_mean, layer.moving_variance))
    variance, stored = variance + layer.epsilon, stored + layer.epsilon
    apart = 0.5 * (variance / stored + (mean - stored_mean) ** 2 / stored - 1 - np.log(variance / stored))
    return float(apart.mean())


def untouched(layer: keras.layers.BatchNormalization) -> bool:
    """Whether it remembers nothing: its statistics are as they begin."""
    return not np.any(layer.moving_mean) and bool(np.all(np.asarray(layer.moving_variance) == 1))


def behind(layer: keras.layers.BatchNormalization, given: Moments) -> float:
    """The divergence if the layer had too few steps to follow what it is given: its statistics are then a mean of these and of
    the 0 and 1 with which they began."""
    mean, variance = given
    return min(divergence(layer, (1 - left) * mean, left + (1 - left) * variance) for left in LEFT)
