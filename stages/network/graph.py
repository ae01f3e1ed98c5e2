"""Parts of a network, which is a graph of operations, each named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import keras


def inputs(op: keras.Operation) -> list[keras.KerasTensor]:
    """The tensors that an operation takes."""
    return [] if isinstance(op, keras.layers.InputLayer) else keras.tree.flatten(op.input)


def needs(network: keras.Model) -> dict[str, list[str]]:
    """For every operation, inputs first, the names of those whose outputs it takes."""
    makers = {id(tensor): op.name for op in network.operations for tensor in keras.tree.flatten(op.output)}
    return {op.name: [makers[id(tensor)] for tensor in inputs(op)] for op in network.operations}


def between(network: keras.Model, bottom: Iterable[str], top: Iterable[str]) -> list[keras.Operation]:
    """The operations that compute the outputs of those named `top` from those named `bottom`, or from the network's input."""
    needed, given, found, wanted = needs(network), set(bottom), set[str](), list(top)
    while wanted:
        name = wanted.pop()
        if name not in given | found:
            found.add(name)
            wanted += needed[name]
    return [op for op in network.operations if op.name in found]


def tensors(network: keras.Model, names: Sequence[str]) -> list[keras.KerasTensor]:
    """The output of each named operation."""
    outputs = {op.name: op.output for op in network.operations}
    return [outputs[name] for name in names]


def part(network: keras.Model, bottom: Sequence[str], top: Sequence[str]) -> keras.Model:
    """The network from those outputs (or its input, where none is named) to these, as a model that shares its layers."""
    start = tensors(network, bottom) if bottom else network.inputs
    end = tensors(network, top) if top else network.outputs
    return keras.Model(start if len(start) > 1 else start[0], end if len(end) > 1 else end[0])
