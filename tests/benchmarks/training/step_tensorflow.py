"""How TensorFlow runs the operations of a step as training does: in a compiled function, the optimizer's variables in their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from stages.training.one_pass import in_one_pass


def compiled(operation: Callable[..., Any], *values: Any) -> Callable[[], Any]:
    """A call of it on these values."""
    function = tf.function(operation, autograph=False)
    return lambda: function(*values)


def gradient(forward: Callable[[Any, Any], Any], of: int) -> Callable[[Any, Any, Any], Any]:
    """That of the first or second argument, given both and the output's. What is not needed for it is not computed."""
    return lambda x, kernel, above: tf.gradients(forward(x, kernel), (x, kernel)[of], above)


def sum_in_place(values: Any) -> Callable[[], Any]:
    """Add these to a variable."""
    variable = tf.Variable(tf.zeros_like(values))
    return compiled(variable.assign_add, values)


def adam(values: Any) -> Callable[[], Any]:
    """A step of a variable with these as its gradient."""
    variable, optimizer = keras.Variable(tf.zeros_like(values)), in_one_pass(keras.optimizers.Adam)(1e-4)
    optimizer.build([variable])
    return compiled(lambda gradient: optimizer.apply([gradient], [variable]), values)
