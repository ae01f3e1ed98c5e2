"""Measures what a float32 matrix product reaches on this machine: the backend's and numpy's, the better of the two, in FLOP/s."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tests.benchmarks.training.scripts.fitting import asked

SIDE = 3072
SECONDS = 3.0


def best(product: Callable[[], object]) -> float:
    """FLOP/s of the fastest of the products in some seconds, after one to warm up."""
    product()
    fastest, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        start = time.perf_counter()
        product()
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * SIDE**3 / fastest


def main() -> None:
    """Write the figures to the file that is named."""
    told = asked()
    values = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    tensor = keras.ops.convert_to_tensor(values)

    def backend() -> None:
        product = keras.ops.matmul(tensor, tensor)
        float(product[0, 0])  # waits for it

    found = {"numpy": best(lambda: values @ values), keras.backend.backend(): best(backend)}
    Path(told["result"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
