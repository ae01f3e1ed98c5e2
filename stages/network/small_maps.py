"""Convolutions of maps that are smaller than their kernel, on JAX's CPU: ResNet50's last ones, of images of 64 pixels or fewer.

XLA takes the smaller of the two for the kernel (AlgebraicSimplifier::SwapConvOperands), and has no more than a plain loop for
what comes out: 35 times as long for a batch of 2 x 2 maps. A map that is padded before, out of the simplifier's sight, stays
the larger, in the convolution and in both of its gradients.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import keras
from jax import lax
from jax import numpy as jnp

KERASS = keras.layers.Conv2D.convolution_op
LAYOUT = ("NHWC", "HWIO", "NHWC")


def pad_first() -> None:
    """Let Keras's Conv2D pad such maps by itself, in this process and for good; the sums are the same but for rounding."""
    keras.layers.Conv2D.convolution_op = convolution


def convolution(layer: keras.layers.Conv2D, inputs: Any, kernel: Any) -> Any:
    """What the layer makes of (N, height, width, channels)."""
    if isinstance(inputs, keras.KerasTensor) or not grows(layer, inputs.shape[1:3]):
        return KERASS(layer, inputs, kernel)
    kernel = keras.ops.convert_to_tensor(kernel)
    pads = lax.padtype_to_pads(inputs.shape[1:3], layer.kernel_size, layer.strides, "SAME")
    return correlate(padded(keras.ops.cast(inputs, kernel.dtype), pads), kernel)


def grows(layer: keras.layers.Conv2D, size: tuple[int, int]) -> bool:
    """Whether a map of this size is smaller than the layer's kernel, and comes out as large as it is."""
    plain = (layer.padding, layer.data_format, layer.groups, *layer.strides, *layer.dilation_rate)
    return plain == ("same", "channels_last", 1, 1, 1, 1, 1) and math.prod(size) < math.prod(layer.kernel_size)


def padded(maps: Any, pads: Any) -> Any:
    """With zeros around, and no convolution takes them for its own padding."""
    return lax.optimization_barrier(jnp.pad(maps, ((0, 0), *pads, (0, 0))))


def valid(maps: Any, kernel: Any) -> Any:
    """A convolution without padding."""
    return lax.conv_general_dilated(maps, kernel, (1, 1), "VALID", dimension_numbers=LAYOUT)


def forward(maps: Any, kernel: Any) -> tuple[Any, tuple[Any, Any]]:
    """What is computed, and what its gradients are computed from."""
    return valid(maps, kernel), (maps, kernel)


def backward(known: tuple[Any, Any], gradient: Any) -> tuple[Any, Any]:
    """The gradients for the maps and for the kernel."""
    maps, kernel = known
    pads = [(size - 1, size - 1) for size in kernel.shape[:2]]
    for_maps = valid(padded(gradient, pads), jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    return for_maps, jax.vjp(lambda weights: valid(maps, weights), kernel)[1](gradient)[0]


correlate = jax.custom_vjp(valid)  # whose gradient for the maps, a convolution of a small map, is padded before too
correlate.defvjp(forward, backward)
