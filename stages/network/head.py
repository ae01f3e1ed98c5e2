"""The classifier on top of a backbone, and which layers below it learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import keras

from kpipe.stage import StageError


def attach(backbone: keras.Model, *, classes: int, pooling: Literal["avg", "flatten"], units: int, dropout: float) -> keras.Model:
    """The whole network, flat: backbone, pooling, an optional hidden layer, dropout, softmax over `classes` (float32).

    Softmax over K classes also for two: one output unit with softmax, which cannot learn, cannot be expressed.
    """
    features = backbone.output
    if pooling == "avg":
        features = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    else:
        features = keras.layers.Flatten(name="flatten")(features)
    if units:
        features = keras.layers.Dense(units, activation="relu", name="hidden")(features)
    if dropout:
        features = keras.layers.Dropout(dropout, name="dropout")(features)
    output = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(features)
    return keras.Model(backbone.input, output, name=backbone.name)


@contextmanager
def logits(model: keras.Model) -> Iterator[None]:
    """The model without the softmax of its last layer, as long as the block lasts: for a loss that takes logits.

    A probability that rounds to 0 or 1 passes no gradient to a loss. On TensorFlow Keras's losses find the logits by themselves,
    on JAX they do not, and a network that begins sure of wrong classes stays as it is.
    """
    last = model.layers[-1]
    kept, last.activation = last.activation, keras.activations.linear
    try:
        yield
    finally:
        last.activation = kept


def unfreeze(network: keras.Model, backbone_layers: Sequence[str], last: int | Literal["all"], *, batchnorm: bool) -> list[str]:
    """Let the `last` N of `backbone_layers` learn and freeze the others; returns the names of those that learn.

    Frozen BatchNormalization runs in inference mode (Keras: trainable=False). With `batchnorm` false it stays frozen
    in the unfrozen part too. Call this before compiling: Keras ignores changes made after it.
    """
    number = len(backbone_layers) if last == "all" else last
    if not 0 <= number <= len(backbone_layers):
        raise StageError(
            f"unfreeze = {last}: {network.name} has {len(backbone_layers)} layers",
            hint=f'give a number from 0 to {len(backbone_layers)}, or "all"',
        )
    learning = set(backbone_layers[len(backbone_layers) - number :])
    for layer in network.layers:
        if layer.name in backbone_layers:
            layer.trainable = layer.name in learning and (batchnorm or not is_batchnorm(layer))
    return [layer.name for layer in network.layers if layer.name in learning and layer.trainable and layer.weights]


def is_batchnorm(layer: keras.layers.Layer) -> bool:
    """Whether a layer normalises with the statistics of its batch while it trains."""
    return isinstance(layer, keras.layers.BatchNormalization)
