"""Floating-point operations of a network's layers, forward and in a training step, counted from their shapes.

A multiply-add counts two. Convolutions and dense layers only: the rest is about 1%. Positions where a filter hangs over
the border count like all others, as in published figures; XLA leaves out what they multiply with the padding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import keras
import numpy as np

from stages.network import graph


def layer_flops(layer: keras.Operation) -> int:
    """Operations of the forward pass for one image."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        positions = math.prod(layer.output.shape[1:])
        return int(2 * positions * math.prod(layer.kernel.shape[:2]))
    if isinstance(layer, keras.layers.Conv2D):
        positions = math.prod(layer.output.shape[1:3])
        return int(2 * positions * math.prod(layer.kernel.shape))
    if isinstance(layer, keras.layers.Dense):
        return int(2 * math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape))
    return 0


@dataclass(frozen=True)
class Cost:
    """What one operation of the network costs for one image in one training step."""

    name: str
    forward: int  # FLOPs
    weights: int  # FLOPs of the gradient of its weights: as many as forward where they learn
    inputs: int  # FLOPs of the gradient of its input: as many as forward where anything below it learns
    activation_bytes: int  # of its output

    @property
    def flops(self) -> int:
        """All FLOPs of the step."""
        return self.forward + self.weights + self.inputs


def step(network: keras.Model, cut: Iterable[str]) -> list[Cost]:
    """What a training step does above the cut, in the whole network where it is empty; by what learns at present."""
    output = next(op.name for op in network.operations if op.output is network.output)
    costs: list[Cost] = []
    learns: dict[int, bool] = {}  # tensor -> whether anything that it is computed from learns
    for op in graph.between(network, cut, [output]):
        below = any(learns.get(id(tensor), False) for tensor in graph.inputs(op))
        own = isinstance(op, keras.layers.Layer) and bool(op.trainable_weights)
        learns.update((id(tensor), below or own) for tensor in keras.tree.flatten(op.output))
        forward = layer_flops(op)
        costs.append(Cost(op.name, forward, forward * own, forward * below, output_bytes(op)))
    return costs


def output_bytes(op: keras.Operation) -> int:
    """Memory of the operation's output for one image."""
    return sum(math.prod(tensor.shape[1:]) * np.dtype(tensor.dtype).itemsize for tensor in keras.tree.flatten(op.output))
