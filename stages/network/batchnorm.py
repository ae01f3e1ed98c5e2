"""BatchNormalization: its statistics re-estimated on the data as the trained weights see it, and its batch mode.

Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm" (arXiv 2105.07576), section 3: the moving averages of training lag
behind the weights; statistics re-estimated with the weights held still ("PreciseBN") do not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from stages.network import parallel
from stages.network.feed import Feed

SAMPLE = 1024  # images: the paper finds 1,000 enough
Statistics = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]  # layer -> mean, variance, one value a channel


def learning(network: keras.Model) -> list[str]:
    """Names of the BatchNormalization layers that run in batch mode while the network trains."""
    return [layer.name for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]


def current(network: keras.Model, names: Sequence[str]) -> Statistics:
    """A copy of the statistics that the named layers hold."""
    layers = [network.get_layer(name) for name in names]
    return {layer.name: (copied(layer.moving_mean), copied(layer.moving_variance)) for layer in layers}


def copied(variable: keras.Variable) -> NDArray[np.float32]:
    """The values of a variable in memory of their own: a view would change with it."""
    return np.array(keras.ops.convert_to_numpy(variable.value))


def assign(network: keras.Model, statistics: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]) -> None:
    """Give the named layers these statistics."""
    for name, (mean, variance) in statistics.items():
        layer = network.get_layer(name)
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


@contextmanager
def holding(network: keras.Model, statistics: Statistics) -> Iterator[None]:
    """The network with these statistics, as long as the block lasts; then again with those that it has."""
    kept = current(network, list(statistics))
    assign(network, statistics)
    try:
        yield
    finally:
        assign(network, kept)


class BatchStatistics(keras.layers.Layer):  # type: ignore[misc]  # keras has no types
    """A BatchNormalization layer that always uses the statistics of its batch, gives them out, and keeps none.

    Keras's own layer would follow the `training` argument of the model around it and update its moving averages.
    """

    def __init__(self, layer: keras.layers.BatchNormalization) -> None:
        super().__init__(name=f"{layer.name}_on_batch_statistics")
        self.layer = layer

    def call(self, inputs: Any) -> tuple[Any, Any, Any]:
        """The normalised inputs, and the mean and variance of every channel."""
        axes = [axis for axis in range(len(inputs.shape)) if axis != self.layer.axis % len(inputs.shape)]
        mean, variance = keras.ops.moments(inputs, axes=axes, synchronized=self.layer.synchronized)
        normalised = keras.ops.batch_normalization(
            inputs,
            mean,
            variance,
            axis=self.layer.axis,
            offset=self.layer.beta,
            scale=self.layer.gamma,
            epsilon=self.layer.epsilon,
        )
        return normalised, mean, variance


@dataclass(frozen=True)
class BatchMode:
    """A model with some BatchNormalization layers in batch mode; the rest, dropout included, in inference mode."""

    output: keras.Model  # inputs -> the model's output
    moments: keras.Model  # inputs -> the means, then the variances, of what enters each of the layers
    names: list[str]


def batch_mode(model: keras.Model, names: Collection[str]) -> BatchMode:
    """The same layers and weights as `model`, with the named BatchNormalization layers in batch mode."""
    means: dict[str, Any] = {}
    variances: dict[str, Any] = {}

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if layer.name not in names:
            return layer(*args, **kwargs)
        normalised, means[layer.name], variances[layer.name] = BatchStatistics(layer)(*args)
        return normalised

    plain = keras.Model(model.input, model.output)  # Keras would compile the clone of a compiled one, from text
    clone = keras.models.clone_model(plain, clone_function=lambda layer: layer, call_function=call)
    return BatchMode(clone, keras.Model(clone.inputs, [*means.values(), *variances.values()]), list(means))


def estimate(mode: BatchMode, feed: Feed, rows: NDArray[np.int64], batch_size: int) -> Statistics:
    """Mean and variance over `rows` of what enters each layer, while all of them run in batch mode.

    Only whole batches are used, all of one size, so that each counts the same; fewer images than a batch are one batch.
    Batches are joined exactly: mean = E[m], variance = E[v + m^2] - E[m]^2, in float64.
    """
    size = min(batch_size, len(rows))
    layers, batches = len(mode.names), len(rows) // size
    first: list[Any] = [0.0] * layers  # sums over batches of m, and of v + m^2
    second: list[Any] = [0.0] * layers
    for start in range(0, batches * size, size):
        values = parallel.predict_on_batch(mode.moments, feed.take(rows[start : start + size]))
        for i in range(layers):
            mean, variance = (np.asarray(v, np.float64) for v in (values[i], values[layers + i]))
            first[i], second[i] = first[i] + mean, second[i] + variance + mean**2
    return {
        name: ((m / batches).astype(np.float32), np.maximum(s / batches - (m / batches) ** 2, 0).astype(np.float32))
        for name, m, s in zip(mode.names, first, second, strict=True)
    }
