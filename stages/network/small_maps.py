"""Convolutions of maps that are smaller than their kernel, on JAX's CPU: ResNet50's last ones, of images of 64 pixels or fewer.

XLA takes the smaller of the two for the kernel (AlgebraicSimplifier::SwapConvOperands), and has no more than a plain loop for
what comes out: 35 times as long for a batch of 2 x 2 maps. A map that is padded before, out of the simplifier's sight, stays
the larger. The gradient for the kernel gains as much, the one for the map nothing: it is a convolution of its own.
"""

from __future__ import annotations

import math
from typing import Any

import keras

KERASS = keras.layers.Conv2D.convolution_op


def pad_first() -> None:
    """Let Keras's Conv2D pad such maps by itself, in this process and for good; the sums are the same but for rounding."""
    keras.layers.Conv2D.convolution_op = convolution


def convolution(layer: keras.layers.Conv2D, inputs: Any, kernel: Any) -> Any:
    """What the layer makes of (N, height, width, channels)."""
    import jax

    if isinstance(inputs, keras.KerasTensor) or not grows(layer, inputs.shape[1:3]):
        return KERASS(layer, inputs, kernel)
    window = [(size - 1) * rate + 1 for size, rate in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    pads = jax.lax.padtype_to_pads(inputs.shape[1:3], window, layer.strides, "SAME")
    padded = jax.lax.optimization_barrier(jax.numpy.pad(inputs, ((0, 0), *pads, (0, 0))))
    return keras.ops.conv(padded, kernel, layer.strides, "valid", layer.data_format, layer.dilation_rate)


def grows(layer: keras.layers.Conv2D, size: tuple[int, int]) -> bool:
    """Whether a map of this size is smaller than the layer's kernel, and padded by it."""
    padded = layer.padding == "same" and layer.data_format == "channels_last"
    return bool(padded and math.prod(size) < math.prod(layer.kernel_size))
