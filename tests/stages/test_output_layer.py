"""How far a head came is read from a file: against what is known of its training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from stages.diagnosis import output_layer
from stages.diagnosis.reasons import FAR, STILL

RNG = np.random.default_rng(0)
FEATURES = np.maximum(RNG.normal(0, 20, (400, 64)), 0).astype(np.float32)  # as of a backbone that normalises nothing
LABELS = (FEATURES[:, :8].sum(axis=1) > np.median(FEATURES[:, :8].sum(axis=1))).astype(np.int32)


def fitted(optimizer: keras.Optimizer, *, logits: bool, units: int = 0, classes: int = 2) -> tuple[keras.Model, float]:
    """A head after three epochs, and how far its output kernel came in truth."""
    keras.utils.set_random_seed(1)
    hidden = [keras.layers.Dense(units, activation="relu")] if units else []
    output = keras.layers.Dense(classes, activation=None if logits else "softmax")
    model = keras.Sequential([keras.Input((64,)), *hidden, output])
    before = np.array(output.kernel)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=logits))
    model.fit(FEATURES, LABELS, batch_size=20, epochs=3, verbose=0)
    return model, float(np.linalg.norm(np.array(output.kernel) - before) / np.linalg.norm(before))


@pytest.mark.slow
@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("units", [0, 16])
@pytest.mark.parametrize(
    ("optimizer", "rate", "is_far"),
    [("Adam", 1.0, True), ("Adam", 10.0, True), ("SGD", 1.0, True), ("Adam", 1e-3, False), ("SGD", 1e-6, False)],
)
def test_weights_that_were_thrown_are_far_and_healthy_ones_are_not(
    optimizer: str, rate: float, is_far: bool, units: int, logits: bool
) -> None:
    model, truly = fitted(getattr(keras.optimizers, optimizer)(rate), logits=logits, units=units)
    (told,) = output_layer.changes(model).values()
    if (truly >= FAR) == is_far:  # a hidden layer may have died in the first step, before the output moved
        assert (told >= FAR) == is_far, (told, truly)
    assert told > STILL or truly < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [keras.optimizers.Adam(1e-8), keras.optimizers.SGD(1e-9)], ids=["Adam", "SGD"])
def test_weights_that_hardly_moved_are_still(optimizer: keras.Optimizer) -> None:
    model, truly = fitted(optimizer, logits=True)
    (told,) = output_layer.changes(model).values()
    assert 0 < told <= STILL and truly <= STILL


@pytest.mark.parametrize(
    "how", [{"trainable": False}, {"use_bias": False}, {"bias_initializer": "ones"}, {"kernel_initializer": "zeros"}], ids=str
)
def test_nothing_is_said_where_nothing_is_known(how: dict[str, Any]) -> None:
    assert output_layer.changes(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, **how)])) == {}
    assert output_layer.changes(keras.Sequential([keras.Input((4, 4, 3)), keras.layers.GlobalAveragePooling2D()])) == {}


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ([keras.layers.Dense(2, activation="softmax")], True),
        ([keras.layers.Dense(1, activation="sigmoid")], True),
        ([keras.layers.Dense(2), keras.layers.Activation("softmax")], True),
        ([keras.layers.Dense(2), keras.layers.Softmax()], True),
        ([keras.layers.Dense(2)], False),
    ],
)
def test_outputs_that_can_saturate(last: list[keras.layers.Layer], expected: bool) -> None:
    assert output_layer.saturates(keras.Sequential([keras.Input((4,)), *last])) is expected
