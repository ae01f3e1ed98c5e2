"""Floating-point operations of a layer, counted from its shapes."""

from __future__ import annotations

import math

import keras


def layer_flops(layer: keras.layers.Layer) -> int:
    """Operations for one image: a multiply-add counts two. Convolutions and dense layers only; the rest is below 1%."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        positions = math.prod(layer.output.shape[1:])
        return int(2 * positions * math.prod(layer.kernel.shape[:2]))
    if isinstance(layer, keras.layers.Conv2D):
        positions = math.prod(layer.output.shape[1:3])
        return int(2 * positions * math.prod(layer.kernel.shape))
    if isinstance(layer, keras.layers.Dense):
        return int(2 * math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape))
    return 0
