"""Where a training step of ResNet50's last block and its head spends its time: TensorFlow's operations, each by itself.

    python -m tests.benchmarks.training.step

The shapes are those of the comparison: 20 pictures of 150 x 150, whose last feature map has 5 x 5 places and 2,048 channels, Flatten,
256 units. Every operation is run alone, compiled, with oneDNN as kpipe's workers have it; the fastest of some runs counts. What they
take together is what a step takes at least, whatever the arithmetic would allow.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from kpipe.executors.environment import KEEP_MEMORY
from kpipe.identity import CHOSEN
from stages.training.one_pass import in_one_pass
from tests.benchmarks.engine import machine
from tests.benchmarks.training.table import aligned

BATCH, SIZE, UNITS, RUNS = 20, 5, 256, 8
FEATURES = SIZE**2 * 2048
CONVOLUTIONS = {"1 x 1, 2048 to 512": (2048, 512, 1), "3 x 3, 512 to 512": (512, 512, 3), "1 x 1, 512 to 2048": (512, 2048, 1)}
SIDE = 4000  # of the matrices whose product is the machine's peak
Part = tuple[str, Callable[[], Any], float]  # name, operation, and what it computes, in FLOPs
HEAD = ("operation", "ms", "GFLOP/s", "share of the matrix product")


def parts() -> Iterator[Part]:
    """The machine's peak first, then what a step is made of."""
    side = drawn(SIDE, SIDE)
    yield "matrix product", partial(tf.matmul, side, side), 2.0 * SIDE**3
    for number, (name, shape) in enumerate(CONVOLUTIONS.items()):
        yield from convolution(name, *shape, learns_below=number > 0)
    features, kernel, above = drawn(BATCH, FEATURES), drawn(FEATURES, UNITS), drawn(BATCH, UNITS)
    flops = 2.0 * BATCH * FEATURES * UNITS
    yield "head, forward", partial(tf.matmul, features, kernel), flops
    yield "head, kernel's gradient", partial(tf.matmul, features, above, transpose_a=True), flops
    yield "head, input's gradient", partial(tf.matmul, above, kernel, transpose_b=True), flops
    weights = FEATURES * UNITS + sum(below * above * size**2 for below, above, size in CONVOLUTIONS.values())
    variable, adam = keras.Variable(tf.zeros(weights)), in_one_pass(keras.optimizers.Adam)(1e-4)
    adam.build([variable])
    yield f"Adam, {weights / 1e6:.1f} million weights", partial(adam.apply, [drawn(weights)], [variable]), 12.0 * weights


def convolution(name: str, below: int, above: int, size: int, *, learns_below: bool) -> Iterator[Part]:
    """One layer: its output, and the gradients of its kernel and, where layers below it learn, of its input."""
    x, kernel, y = drawn(BATCH, SIZE, SIZE, below), drawn(size, size, below, above), drawn(BATCH, SIZE, SIZE, above)
    flops, how = 2.0 * BATCH * SIZE**2 * below * above * size**2, {"strides": [1, 1, 1, 1], "padding": "SAME"}
    yield f"{name}, forward", partial(tf.raw_ops.Conv2D, input=x, filter=kernel, **how), flops
    gradient = partial(tf.raw_ops.Conv2DBackpropFilter, input=x, filter_sizes=kernel.shape, out_backprop=y, **how)
    yield f"{name}, kernel's gradient", gradient, flops
    if learns_below:
        gradient = partial(tf.raw_ops.Conv2DBackpropInput, input_sizes=x.shape, filter=kernel, out_backprop=y, **how)
        yield f"{name}, input's gradient", gradient, flops


def drawn(*shape: int) -> Any:
    """Random numbers of 0..1."""
    return tf.random.stateless_uniform(shape, (0, 0))


def seconds(operation: Callable[[], Any]) -> float:
    """The fastest of some runs, compiled."""
    compiled, taken = tf.function(operation, autograph=False), []
    for _ in range(1 + RUNS):
        began = time.perf_counter()
        compiled()
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def main() -> None:
    """Time every operation and print what they take, alone and together."""
    rows, peak, together, work = [HEAD], 0.0, 0.0, 0.0
    for name, operation, flops in parts():
        took = seconds(operation)
        peak = peak or flops / took
        rows.append((name, f"{1000 * took:.1f}", f"{flops / took / 1e9:.0f}", f"{flops / took / peak:.2f}"))
        together, work = (together + took, work + flops) if len(rows) > 2 else (0.0, 0.0)
    rows.append(("a step, at least", f"{1000 * together:.1f}", f"{work / together / 1e9:.0f}", f"{work / together / peak:.2f}"))
    print("\n".join([*machine(), "", *aligned(rows)]))


if __name__ == "__main__":
    setting = CHOSEN["tensorflow"] | KEEP_MEMORY | {"KERAS_BACKEND": "tensorflow"}
    if any(os.environ.get(name) != value for name, value in setting.items()):  # must be there before the process begins
        os.execvpe(sys.executable, [sys.executable, "-m", "tests.benchmarks.training.step"], os.environ | setting)
    main()
