"""A training that is over leaves no weights in memory: several branches are trained in one process."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import keras
import pytest

from kpipe.stage import StageError
from stages import train
from stages.network import memory
from tests.stages import tiny

UNITS = 777  # no other array has this size


def kept() -> list[tuple[int, ...]]:
    """Shapes of the hidden layer's weights, and of what an optimizer keeps for them, that the backend has in memory."""
    gc.collect()
    if keras.backend.backend() == "jax":
        import jax

        shapes = [array.shape for array in jax.live_arrays()]
    else:
        import tensorflow as tf

        handles = [value for value in gc.get_objects() if isinstance(value, tf.Tensor) and value.dtype == tf.resource]
        variables = [handle for handle in handles if "tensorflow::Var" in str(handle)]  # there are iterators and tables too
        shapes = [tuple(tf.raw_ops.VariableShape(input=handle).numpy()) for handle in variables]
    return [shape for shape in shapes if UNITS in shape]


@pytest.mark.parametrize(
    "how",
    [
        {"learning_rate": 0.01},
        pytest.param({"learning_rate": "find"}, marks=pytest.mark.slow),
        pytest.param({"phases": [{"unfreeze": 0, "epochs": 1}, {"unfreeze": 4, "epochs": 1}]}, marks=pytest.mark.slow),
        pytest.param({"precision": "mixed_float16"}, marks=pytest.mark.slow),
        {"learning_rate": 1e30, "optimizer": "sgd"},
    ],
    ids=["plain", "find", "phases", "float16", "failed"],
)
def test_no_weights_stay_when_a_training_is_over(tmp_path: Path, how: dict[str, Any]) -> None:
    run = tiny.start(tmp_path)
    try:
        run.run("train", train.run, **{"epochs": 1, "units": UNITS, **how})
    except StageError as e:
        assert "not a finite number" in str(e)
    keras.utils.clear_session()  # what the next stage begins with
    assert kept() == []


def test_weights_in_use_are_seen() -> None:
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(UNITS)])
    assert sorted(kept()) == [(4, UNITS), (UNITS,)]
    del network


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX keeps nothing")
def test_weights_are_let_go_of_in_the_middle_of_a_trace() -> None:
    import tensorflow as tf

    owners = [keras.Sequential([keras.Input((4,)), keras.layers.Dense(UNITS)])]
    kept_alive = [variable.value for variable in owners[0].variables]  # as a compiled step keeps them
    memory.give_back_with(owners[0], owners[0].variables)

    @tf.function
    def step(value: Any) -> Any:
        owners.clear()
        gc.collect()
        return value + 1

    traced = step.get_concrete_function(tf.constant(1))
    assert kept() == [] and len(kept_alive) == 2
    assert "AssignVariableOp" not in {operation.type for operation in traced.graph.get_operations()}
