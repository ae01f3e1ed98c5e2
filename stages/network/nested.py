"""Models that hold models, called as the one graph that they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras

Leaf = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]  # an operation that is no model, its arguments -> what it gives


def call(layer: keras.Operation, leaf: Leaf, *args: Any, **kwargs: Any) -> Any:
    """What the layer gives; models are gone through, and `leaf` calls every operation in them that is none."""
    if isinstance(layer, keras.Sequential):
        values = args[0]
        for inner in layer.layers:
            values = call(inner, leaf, values)
        return values
    if isinstance(layer, keras.Model) and hasattr(layer, "operations"):
        return layer._run_through_graph(args[0], operation_fn=lambda inner: partial(call, inner, leaf))  # what its call does
    return leaf(layer, args, kwargs)


def leaves(layer: keras.Operation) -> Iterator[keras.Operation]:
    """The operations in a model, and in the models in it, that are no models; those that are used twice come twice."""
    inner = getattr(layer, "operations", None) if isinstance(layer, keras.Model) else None
    if inner is None:
        yield layer
    for operation in inner or ():
        yield from leaves(operation)


def distinguish(model: keras.Model) -> None:
    """Give different operations in nested models different names, as the one graph of all of them must have."""
    owners: dict[str, keras.Operation] = {}
    for operation in leaves(model):
        name, number = operation.name, 1
        while owners.setdefault(name, operation) is not operation:
            name, number = f"{operation.name}_{number}", number + 1
        operation.name = name
