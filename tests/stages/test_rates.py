"""Lower rates for lower layers, against plain arithmetic: the same step of a plain Keras optimizer, times the layer's share."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import pytest

from stages.network import head
from stages.training.objective import Objective, compile_model
from stages.training.rates import layer_shares, variable_shares
from tests.stages import tiny

LAYERS = tiny.layer_names(tiny.backbone())
SHARES = {
    "probabilities": 1.0, "hidden": 1.0, "conv3": 0.5, "bn3": 0.5, "conv2": 0.25, "bn2": 0.25, "conv1": 0.125, "bn1": 0.125,
}  # fmt: skip


def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    return tiny.network("all", units=8)


def steps(model: keras.Model, number: int, *, logits: bool = True) -> list[dict[str, np.ndarray]]:
    """What each of some steps on the same images added to every variable that learns."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8)
    values, added = [snapshot(model)], []
    for _ in range(number):
        with head.logits(model) if logits else nullcontext():
            model.train_on_batch(pixels, np.arange(24) % 3)
        values.append(snapshot(model))
        added.append({name: values[-1][name] - values[-2][name] for name in values[-1]})
    return added


def snapshot(model: keras.Model) -> dict[str, np.ndarray]:
    return {v.path: np.array(keras.ops.convert_to_numpy(v.value)) for v in model.trainable_variables}


def test_depth_is_counted_from_the_head_and_batchnorm_goes_with_its_convolution() -> None:
    assert layer_shares(network(), LAYERS, 0.5) == SHARES


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [
        Objective("sgd"),
        Objective("sgd", momentum=0.9, weight_decay=0.3),
        Objective("adam", weight_decay=0.3),
        Objective("adamw", weight_decay=0.3),
        Objective("rmsprop", momentum=0.5),
    ],
    ids=lambda objective: f"{objective.optimizer}-{objective.momentum}-{objective.weight_decay}",
)
def test_first_step_is_the_plain_one_times_the_layers_share(objective: Objective) -> None:
    common, layered = network(), network()
    settings: dict[str, Any] = {"weight_decay": objective.weight_decay} if objective.weight_decay else {}
    settings |= {"momentum": objective.momentum} if objective.momentum else {}
    kind = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}[objective.optimizer]
    optimizer = getattr(keras.optimizers, kind)(0.01, **settings)
    common.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    compile_model(layered, objective, 0.01, variable_shares(layered, SHARES))
    [plain], [shared] = steps(common, 1, logits=False), steps(layered, 1)
    assert len(plain) == 16
    for name, value in plain.items():
        share = SHARES[name.split("/")[0]]
        np.testing.assert_allclose(shared[name], share * value, rtol=2e-3, atol=1e-7, err_msg=name)


def test_sgd_with_momentum_over_steps_is_that_of_the_textbook() -> None:
    """One layer learns, from a gradient that does not change with it: a bias that is all that feeds a linear loss."""
    inputs = keras.Input((2,))
    lower = keras.layers.Dense(2, name="lower")
    upper = keras.layers.Dense(2, name="upper")
    model = keras.Model(inputs, upper(lower(inputs)))
    model.compile(Objective("sgd", momentum=0.9).build(0.1, [0.5, 0.5, 1.0, 1.0]), loss=lambda true, got: keras.ops.sum(got, -1))
    lower.trainable_weights[1].assign([1.0, 2.0])
    before = np.array(keras.ops.convert_to_numpy(upper.bias.value))
    velocity, expected = np.zeros(2), before
    for _ in range(4):
        model.train_on_batch(np.ones((3, 2)), np.zeros((3, 2)))
        velocity = 0.9 * velocity - 0.1 * np.ones(2)  # the gradient of the mean of sums by the last bias is 1
        expected = expected + velocity
    np.testing.assert_allclose(keras.ops.convert_to_numpy(upper.bias.value), expected, rtol=1e-5)


@pytest.mark.slow
def test_lower_layers_follow_a_schedule_at_their_share() -> None:
    falling = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.1, 0.01])
    common, layered = network(), network()
    compile_model(common, Objective("sgd"), falling)
    compile_model(layered, Objective("sgd"), falling, variable_shares(layered, SHARES))
    first = steps(common, 1)[0]
    several = steps(layered, 2)
    np.testing.assert_allclose(several[0]["conv1/kernel"], 0.125 * first["conv1/kernel"], rtol=2e-3, atol=1e-7)
    ratio = np.linalg.norm(several[1]["conv1/kernel"]) / np.linalg.norm(several[0]["conv1/kernel"])
    assert ratio == pytest.approx(0.1, rel=0.5)
