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
WEIGHTS = FEATURES * UNITS + sum(below * above * size**2 for below, above, size in CONVOLUTIONS.values())
Part = tuple[str, Callable[[], Any], float, float]  # name, operation, FLOPs that count, bytes of memory where these are the limit
HEAD = ("operation", "ms", "GFLOP/s", "of the matrix product", "GB/s", "of the sum")
MACHINE = 2  # first rows, which are no part of a step


def parts() -> Iterator[Part]:
    """What the machine can do first, then what a step is made of."""
    side, variable = drawn(SIDE, SIDE), keras.Variable(tf.zeros(WEIGHTS))
    yield "matrix product", partial(tf.matmul, side, side), 2.0 * SIDE**3, 0.0
    yield "a sum in place", partial(variable.value.assign_add, drawn(WEIGHTS)), 0.0, 12.0 * WEIGHTS
    for number, (name, shape) in enumerate(CONVOLUTIONS.items()):
        yield from convolution(name, *shape, learns_below=number > 0)
    features, kernel, above = drawn(BATCH, FEATURES), drawn(FEATURES, UNITS), drawn(BATCH, UNITS)
    flops = 2.0 * BATCH * FEATURES * UNITS
    yield "head, forward", partial(tf.matmul, features, kernel), flops, 0.0
    yield "head, kernel's gradient", partial(tf.matmul, features, above, transpose_a=True), flops, 0.0
    yield "head, input's gradient", partial(tf.matmul, above, kernel, transpose_b=True), flops, 0.0
    adam = in_one_pass(keras.optimizers.Adam)(1e-4)
    adam.build([variable])
    step = partial(adam.apply, [drawn(WEIGHTS)], [variable])
    yield f"Adam, {WEIGHTS / 1e6:.1f} million weights", step, 0.0, 28.0 * WEIGHTS  # reads four arrays and writes three


def convolution(name: str, below: int, above: int, size: int, *, learns_below: bool) -> Iterator[Part]:
    """One layer: its output, and the gradients of its kernel and, where layers below it learn, of its input."""
    x, kernel, y = drawn(BATCH, SIZE, SIZE, below), drawn(size, size, below, above), drawn(BATCH, SIZE, SIZE, above)
    flops, how = 2.0 * BATCH * SIZE**2 * below * above * size**2, {"strides": [1, 1, 1, 1], "padding": "SAME"}
    yield f"{name}, forward", partial(tf.raw_ops.Conv2D, input=x, filter=kernel, **how), flops, 0.0
    gradient = partial(tf.raw_ops.Conv2DBackpropFilter, input=x, filter_sizes=kernel.shape, out_backprop=y, **how)
    yield f"{name}, kernel's gradient", gradient, flops, 0.0
    if learns_below:
        gradient = partial(tf.raw_ops.Conv2DBackpropInput, input_sizes=x.shape, filter=kernel, out_backprop=y, **how)
        yield f"{name}, input's gradient", gradient, flops, 0.0


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
    taken = [(name, seconds(operation), flops, moved) for name, operation, flops, moved in parts()]
    step = taken[MACHINE:]
    taken.append(("a step, at least", sum(took for _, took, _, _ in step), sum(flops for _, _, flops, _ in step), 0.0))
    peak, stream = taken[0][2] / taken[0][1], taken[1][3] / taken[1][1]

    def cells(number: float, of: float) -> tuple[str, str]:
        return (f"{number / 1e9:.0f}", f"{number / of:.2f}") if number else ("", "")

    told = [
        (name, f"{1000 * took:.1f}", *cells(flops / took, peak), *cells(moved / took, stream))
        for name, took, flops, moved in taken
    ]
    print("\n".join([*machine(), "", *aligned([HEAD, *told])]))


if __name__ == "__main__":
    setting = CHOSEN["tensorflow"] | KEEP_MEMORY | {"KERAS_BACKEND": "tensorflow"}
    if any(os.environ.get(name) != value for name, value in setting.items()):  # must be there before the process begins
        os.execvpe(sys.executable, [sys.executable, "-m", "tests.benchmarks.training.step"], os.environ | setting)
    main()
