"""Memory of variables whose owner is gone."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import keras


def give_back_with(owner: keras.Model | keras.Optimizer, variables: Sequence[keras.Variable]) -> None:
    """On TensorFlow let go of the variables' values when `owner` is collected: no other model may use them afterwards.

    TensorFlow keeps every compiled training step for as long as the process lives, in its registry of gradients
    (tensorflow/tensorflow#97697), and a step keeps its network's variables and its optimizer's: the tenth branch of a run
    would be trained beside nine networks.
    """
    if keras.backend.backend() == "tensorflow":
        own = [variable.value for variable in variables]
        kept = [value for variable in own for value in getattr(variable, "values", (variable,))]  # mirrored: of each device
        weakref.finalize(owner, give_back, kept).atexit = False


def give_back(variables: Sequence[Any]) -> None:
    """Put an empty tensor in the place of each TensorFlow variable's value, now."""
    import tensorflow as tf

    with tf.init_scope():  # a collection may come while a function is traced
        for variable in variables:
            tf.raw_ops.AssignVariableOp(resource=variable.handle, value=tf.zeros((0,), variable.dtype), validate_shape=False)
