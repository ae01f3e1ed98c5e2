"""Where a training step of ResNet50's last block and its head spends its time: a backend's operations, each by itself.

    python -m tests.benchmarks.training.step
    KERAS_BACKEND=jax python -m tests.benchmarks.training.step

The shapes are those of the comparison: 20 pictures of 150 x 150, whose last feature map has 5 x 5 places and 2,048 channels, Flatten,
256 units. Every operation is run alone, compiled, in the environment of kpipe's workers; the fastest of some runs counts. What they
take together is what a step takes at least, whatever the arithmetic would allow.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import keras

from kpipe.executors.environment import KEEP_MEMORY
from kpipe.identity import CHOSEN
from tests.benchmarks.engine import machine
from tests.benchmarks.training.table import aligned

BACKEND = keras.backend.backend()
RUN = import_module(f"tests.benchmarks.training.step_{BACKEND}")  # how its operations are run
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
    product = keras.ops.matmul
    yield "matrix product", RUN.compiled(product, drawn(SIDE, SIDE), drawn(SIDE, SIDE)), 2.0 * SIDE**3, 0.0
    yield "a sum in place", RUN.sum_in_place(drawn(WEIGHTS)), 0.0, 12.0 * WEIGHTS
    for number, (name, shape) in enumerate(CONVOLUTIONS.items()):
        yield from convolution(name, *shape, learns_below=number > 0)
    features, kernel, above = drawn(BATCH, FEATURES), drawn(FEATURES, UNITS), drawn(BATCH, UNITS)
    yield from layer("head", product, (features, kernel, above), 2.0 * BATCH * FEATURES * UNITS, learns_below=True)
    step = RUN.adam(drawn(WEIGHTS))
    yield f"Adam, {WEIGHTS / 1e6:.1f} million weights", step, 0.0, 28.0 * WEIGHTS  # reads four arrays and writes three


def convolution(name: str, below: int, above: int, size: int, *, learns_below: bool) -> Iterator[Part]:
    """A convolution of the last feature maps."""
    x, kernel, y = drawn(BATCH, SIZE, SIZE, below), drawn(size, size, below, above), drawn(BATCH, SIZE, SIZE, above)
    flops = 2.0 * BATCH * SIZE**2 * below * above * size**2
    yield from layer(name, convolved, (x, kernel, y), flops, learns_below=learns_below)


def convolved(x: Any, kernel: Any) -> Any:
    """As the layers of ResNet50 do it."""
    return keras.ops.conv(x, kernel, padding="same", data_format="channels_last")


def layer(name: str, forward: Any, values: tuple[Any, Any, Any], flops: float, *, learns_below: bool) -> Iterator[Part]:
    """Its output, and the gradients of its kernel and, where layers below it learn, of its input.

    `values` are its input, its kernel, and the gradient of its output.
    """
    yield f"{name}, forward", RUN.compiled(forward, *values[:2]), flops, 0.0
    yield f"{name}, kernel's gradient", RUN.compiled(RUN.gradient(forward, 1), *values), flops, 0.0
    if learns_below:
        yield f"{name}, input's gradient", RUN.compiled(RUN.gradient(forward, 0), *values), flops, 0.0


def drawn(*shape: int) -> Any:
    """Random numbers of 0..1."""
    return keras.random.uniform(shape, seed=0)


def seconds(operation: Callable[[], Any]) -> float:
    """The fastest of some runs; the first one compiles."""
    taken = []
    for _ in range(1 + RUNS):
        began = time.perf_counter()
        operation()
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
    setting = CHOSEN[BACKEND] | KEEP_MEMORY | {"KERAS_BACKEND": BACKEND}
    if any(os.environ.get(name) != value for name, value in setting.items()):  # must be there before the process begins
        os.execvpe(sys.executable, [sys.executable, "-m", "tests.benchmarks.training.step"], os.environ | setting)
    main()
