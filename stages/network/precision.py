"""Arithmetic in lower precision: which layers compute in it; variables stay in float32 (Micikevicius et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import keras

FLOAT32 = "float32"
IN_FLOAT32 = ("image", "pixels", "probabilities")  # 8-bit pixels less their mean are not exact in bfloat16; softmax is not safe


def compute_in(layers: Iterable[keras.layers.Layer], precision: str) -> None:
    """Let layers compute in a precision from now on; what was compiled or built of them before still does as it did."""
    for layer in layers:
        if layer.name not in IN_FLOAT32 and not isinstance(layer, keras.layers.InputLayer):
            layer.dtype_policy = precision


@contextmanager
def float32_afterwards(network: keras.Model) -> Iterator[None]:
    """Whatever the network computed in meanwhile, it is saved, and predicts, in float32."""
    yield
    compute_in(network.layers, FLOAT32)
