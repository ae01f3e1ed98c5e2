"""How long a network takes from raw pixels to probabilities."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

BATCHES = (1, 32)  # images in a call
WARM_UP = 0.2  # seconds of calls that are thrown away after the first one, which compiles
SPENT = 0.5  # seconds of calls that are timed, where these are TAIL calls
PATIENCE = 1.5  # seconds of calls that are timed to have as many
MOST = 500  # calls that are timed
FEWEST = 3  # calls that are timed of a network that is slower
LONGEST = 2.0  # seconds of calls after which no other one begins
TAIL = 20  # calls from which the slowest twentieth can be told

Clock = Callable[[], float]
Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def measures(network: keras.Model, images: NDArray[np.uint8]) -> dict[str, Any]:
    """For each size of a batch the seconds of a call, median and 95th percentile, and how many calls were timed.

    `images` is (N, H, W, 3); they are repeated where a batch needs more. A call begins with pixels in the host's memory and
    ends when the probabilities are there, so the device has finished.
    """
    predict, told = compiled(network), dict[str, Any]()
    for size in BATCHES:
        taken = timed(partial(predict, images[np.arange(size) % len(images)]))
        told |= {f"latency_batch_{size}_{name}": value for name, value in summary(taken).items()}
    return told


def compiled(network: keras.Model) -> Predict:
    """The network in inference mode as one compiled function, without the loop around it in Keras's predict."""
    if keras.backend.backend() == "jax":
        import jax

        def forward(trainable: Any, others: Any, images: Any) -> Any:
            return network.stateless_call(trainable, others, images, training=False)[0]

        learned = [variable.value for variable in network.trainable_variables]
        others = [variable.value for variable in network.non_trainable_variables]
        call = partial(jax.jit(forward), learned, others)
        return lambda images: np.asarray(call(images))
    import tensorflow as tf

    traced(network)
    return lambda images: np.asarray(network.predict_function([(tf.convert_to_tensor(images),)]))


def traced(network: keras.Model) -> None:
    """On TensorFlow make the graph that predicts any number of images, instead of one for each of several numbers."""
    if keras.backend.backend() != "tensorflow" or network.predict_function:
        return
    import tensorflow as tf

    network.make_predict_function()
    [pixels] = network.inputs
    network.predict_function.get_concrete_function([(tf.TensorSpec(pixels.shape, pixels.dtype),)])


def timed(call: Callable[[], object], clock: Clock = time.perf_counter) -> list[float]:
    """Seconds of each call but the first ones: those compile, and find a device that has yet to speed up.

    The call after the compiling one counts where it is longer than warming up takes.
    """
    seconds(call, clock)
    warming = seconds(call, clock)
    taken = [warming] if warming > WARM_UP else []
    while warming < WARM_UP:
        warming += seconds(call, clock)
    while not enough(taken):
        taken.append(seconds(call, clock))
    return taken


def enough(taken: list[float]) -> bool:
    """Whether so many calls tell the median, and the tail where that does not take too long."""
    budget = LONGEST if len(taken) < FEWEST else PATIENCE if len(taken) < TAIL else SPENT
    return len(taken) >= MOST or sum(taken) >= budget


def seconds(call: Callable[[], object], clock: Clock) -> float:
    """What one call takes."""
    began = clock()
    call()
    return clock() - began


def summary(taken: list[float]) -> dict[str, Any]:
    """Median and 95th percentile, None where there are too few calls to tell it, and the number of calls."""
    p95 = float(np.percentile(taken, 95)) if len(taken) >= TAIL else None
    return {"seconds": float(np.median(taken)), "p95_seconds": p95, "calls": len(taken)}
