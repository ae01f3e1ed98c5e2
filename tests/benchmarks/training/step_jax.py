"""How JAX runs the operations of a step as training does: compiled, the optimizer's state donated to the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import keras


def compiled(operation: Callable[..., Any], *values: Any) -> Callable[[], Any]:
    """A call of it on these values."""
    function = jax.jit(operation)
    return lambda: jax.block_until_ready(function(*values))


def gradient(forward: Callable[[Any, Any], Any], of: int) -> Callable[[Any, Any, Any], Any]:
    """That of the first or second argument, given both and the output's. What is not needed for it is not computed."""
    return lambda x, kernel, above: jax.vjp(forward, x, kernel)[1](above)[of]


def in_place(operation: Callable[[Any, Any], Any], state: Any, values: Any) -> Callable[[], Any]:
    """A call of it on what the call before returned, whose memory it takes, and these values."""
    function, held = jax.jit(operation, donate_argnums=0), [state]

    def call() -> None:
        held[0] = jax.block_until_ready(function(held[0], values))

    return call


def sum_in_place(values: Any) -> Callable[[], Any]:
    """Add these to an array."""
    return in_place(jax.numpy.add, jax.numpy.zeros_like(values), values)


def adam(values: Any) -> Callable[[], Any]:
    """A step of a variable with these as its gradient."""
    variable, optimizer = keras.Variable(jax.numpy.zeros_like(values)), keras.optimizers.Adam(1e-4)
    optimizer.build([variable])

    def step(state: Any, gradient: Any) -> Any:
        weights, own = optimizer.stateless_apply(state[1], [gradient], state[0])
        return weights, own

    return in_place(step, ([variable.value], [own.value for own in optimizer.variables]), values)
