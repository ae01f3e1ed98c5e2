"""JAX on the CPU pads maps that are smaller than their kernel before it convolves them: same values, and no swapped operands."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.projects import ROOT

SCRIPT = """
import json, sys
import jax, keras, numpy as np
from stages.network import device, small_maps

if sys.argv[1] == "padded":
    device.prepare()
swapped = []
for size, kernel, strides, rate, padding in json.loads(sys.argv[2]):
    layer = keras.layers.Conv2D(5, kernel, strides, padding, dilation_rate=rate)
    images = np.random.default_rng(0).normal(size=(3, *size, 4)).astype(np.float32)
    layer.build(images.shape)
    weights, ways = layer.kernel.value, (keras.layers.Conv2D.convolution_op, small_maps.KERASS)
    ours, kerass = (way(layer, images, weights) for way in ways)
    np.testing.assert_allclose(ours, kerass, rtol=1e-5, atol=1e-6)
    ours, kerass = (jax.grad(lambda x, w, way=way: (way(layer, x, w) ** 2).sum(), (0, 1))(images, weights) for way in ways)
    for one, other in zip(ours, kerass, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    own = keras.layers.Conv2D.convolution_op
    compute = lambda x, w: own(layer, x, w)
    gradients = jax.grad(lambda x, w: (own(layer, x, w) ** 2).sum(), (0, 1))
    programs = [jax.jit(f).lower(images, weights).compile().as_text() for f in (compute, gradients)]
    swapped.append(any("rhs_reversal" in program for program in programs))
print(json.dumps(swapped))
"""
SMALL = [  # height and width, kernel, strides, dilation, padding
    ([2, 2], 3, 1, 1, "same"), ([1, 1], 3, 1, 1, "same"), ([2, 3], 3, 1, 1, "same"), ([3, 3], 5, 1, 1, "same"),
    ([4, 2], [1, 9], 1, 1, "same"), ([3, 4], [4, 4], 1, 1, "same"),
]  # fmt: skip
OTHERS = [  # left to Keras
    ([5, 5], 3, 1, 1, "same"), ([3, 3], 3, 1, 1, "valid"), ([2, 2], 1, 1, 1, "same"), ([2, 3], 3, 2, 1, "same"),
    ([2, 2], 3, 1, 2, "same"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("way", ["padded", "plain"])
def test_values_and_gradients_are_kerass_and_no_operands_are_swapped(way: str) -> None:
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SCRIPT, way, json.dumps(SMALL + OTHERS)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    swapped = json.loads(done.stdout)
    if way == "padded":
        assert not any(swapped[: len(SMALL)])
    else:
        assert all(swapped[: len(SMALL)]), "XLA swaps no more: stages/network/small_maps.py can go"
