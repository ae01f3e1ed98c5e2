"""Rectified units, and those of them that never fire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from stages.network.feed import Array, Feed

RECTIFIERS = (keras.activations.relu, keras.activations.relu6)


def rectifies(operation: keras.Operation) -> bool:
    """Whether an operation gives 0 for a unit that does not fire."""
    if isinstance(operation, keras.layers.ReLU):
        return not operation.negative_slope and not operation.threshold
    return getattr(operation, "activation", None) in RECTIFIERS


def silent(model: keras.Model, names: Sequence[str], arrays: tuple[Array, ...], rows: NDArray[np.int64]) -> dict[str, float]:
    """For each of the model's outputs, by these names, the share of its units (channels) that fire for none of the rows."""
    peaks = [keras.ops.max(tensor, axis=tuple(range(1, len(tensor.shape) - 1))) for tensor in model.outputs]  # (N, channels)
    model = keras.Model(model.inputs if len(model.inputs) > 1 else model.inputs[0], peaks)
    fired: list[Any] = [False] * len(names)
    for batch in Feed(model, arrays).outputs(rows):
        for i, values in enumerate(batch):
            fired[i] = fired[i] | (values > 0).any(axis=0)
    return {name: float(1 - np.mean(units)) for name, units in zip(names, fired, strict=True)}
