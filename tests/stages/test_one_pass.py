"""Adam in one pass over memory: bit for bit what Keras's own step gives."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from stages.training import one_pass
from stages.training.one_pass import in_one_pass

pytestmark = pytest.mark.cpu
TENSORFLOW = keras.backend.backend() == "tensorflow"


def trained(kind: type[keras.Optimizer], **settings: Any) -> list[NDArray[np.float32]]:
    """A variable and what the optimizer keeps of it, after steps of very different sizes."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    start = rng.normal(0, 0.01, (1031, 17)).astype(np.float32)  # no multiple of what a CPU computes at a time
    variable = keras.Variable(start)
    optimizer = kind(keras.optimizers.schedules.CosineDecay(1e-3, 9), **settings)
    optimizer.build([variable])
    apply = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    for scale in (1e-8, 1e-3, 1.0, 1e4, 0.0, 1e-3, 1e-5):
        apply(tf.constant(rng.normal(0, 1, start.shape).astype(np.float32) * np.float32(scale)))
    return [np.array(value) for value in (variable, *optimizer.variables)]


@pytest.mark.skipif(not TENSORFLOW, reason="JAX compiles the whole step")
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (keras.optimizers.Adam, {}),
        (keras.optimizers.Adam, {"beta_1": 0.5, "beta_2": 0.99, "epsilon": 1e-4}),
        (keras.optimizers.AdamW, {"weight_decay": 0.01}),
        (keras.optimizers.Adam, {"clipnorm": 1.0}),
        (keras.optimizers.Adam, {"amsgrad": True}),
        (keras.optimizers.Adam, {"use_ema": True}),
        (keras.optimizers.AdamW, {"gradient_accumulation_steps": 2}),
    ],
)
def test_every_bit_is_that_of_keras(
    kind: type[keras.Optimizer], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_pass, "LARGE", 1)
    plain, ours = trained(kind, **settings), trained(in_one_pass(kind), **settings)
    for expected, found in zip(plain, ours, strict=True):
        np.testing.assert_array_equal(found, expected)


class Halved(keras.optimizers.Adam):
    """Takes steps of its own."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient, variable, learning_rate / 2)


def test_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_one_pass(Halved) is Halved
    assert in_one_pass(keras.optimizers.SGD) is keras.optimizers.SGD
    assert (in_one_pass(keras.optimizers.Adam) is not keras.optimizers.Adam) == TENSORFLOW
    monkeypatch.setattr(one_pass, "worth_it", lambda: False)
    assert in_one_pass(keras.optimizers.Adam) is keras.optimizers.Adam
