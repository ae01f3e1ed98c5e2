"""What tests of the Keras stages share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def convolutions_of_workers() -> None:
    """On JAX a stage sets how maps are convolved that are smaller than their kernel, and no test is to depend on which came first."""
    if os.environ.get("KERAS_BACKEND") == "jax":
        from stages.network import device

        device.prepare()


@pytest.fixture
def sums_as_written() -> Iterator[None]:
    """Both graphs add in the order in which they are written: TensorFlow's arithmetic optimizer reorders sums, by rounding,
    differently in a whole network than in its tail (found by switching its graph optimizers off one by one)."""
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    yield
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": True})
