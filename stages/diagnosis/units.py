"""Units that never fire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from stages.network.feed import Array, Feed


def silent(model: keras.Model, names: Sequence[str], arrays: tuple[Array, ...], rows: NDArray[np.int64]) -> dict[str, float]:
    """For each of the model's outputs, by these names, the share of its units (channels) that fire for none of the rows."""
    fired: list[Any] = [False] * len(names)
    for batch in Feed(model, arrays).outputs(rows):
        for i, values in enumerate(batch):
            fired[i] = fired[i] | (values > 0).reshape(-1, values.shape[-1]).any(axis=0)
    return {name: float(1 - np.mean(units)) for name, units in zip(names, fired, strict=True)}
