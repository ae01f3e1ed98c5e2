"""Where a network is cut in two: below, nothing changes in training, so that its activations can be stored and reused."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

import keras

from stages.network import graph

VALUE = 100  # operations that cost as much as to keep and read one value: 250 GFLOP/s, 10 GB/s from the page cache


def place(network: keras.Model, backbone_layers: Collection[str]) -> list[str]:
    """Names of the operations whose outputs are the cut: the cheapest one that there is. Empty: it is best not to store.

    A cut below the frontier has everything between the two computed anew in every step. It is better where it carries
    so few values less that reading the others takes longer than computing them: the input of an expansion, of a branch
    point, of a cheap first layer.
    """
    top = frontier(network, backbone_layers)
    best, least = top, math.inf
    for cut, recomputed in candidates(network, top):
        if recomputed >= least:
            break
        cost = recomputed + VALUE * sum(map(values, cut))
        if cost < least:
            best, least = [op.name for op in cut], cost
    layers = graph.between(network, [], best)
    return best if any(op.weights for op in layers if isinstance(op, keras.layers.Layer)) else []


def frontier(network: keras.Model, backbone_layers: Collection[str]) -> list[str]:
    """Names of the operations whose outputs lie between what cannot change in training and what can.

    An output cannot change when nothing below it learns, uses batch statistics or draws random numbers; the head always
    can. The frontier is every such output that enters an operation of the other kind: in a residual network there may
    be several.
    """
    changing: set[str] = set()
    found: dict[str, None] = {}
    for op, inputs in zip(network.operations, graph.needs(network).values(), strict=True):
        if can_change(op) or is_head(op, backbone_layers) or changing.intersection(inputs):
            changing.add(op.name)
            found.update((name, None) for name in inputs if name not in changing)
    return list(found)


def can_change(op: keras.Operation) -> bool:
    """Whether the operation's output for the same input may change from step to step."""
    if not isinstance(op, keras.layers.Layer):
        return False
    learns = op.trainable and bool(op.weights)  # BatchNormalization without gamma and beta still has statistics
    return learns or hasattr(op, "seed_generator")


def is_head(op: keras.Operation, backbone_layers: Collection[str]) -> bool:
    """Whether the operation lies above the backbone: a new head must find the same activations."""
    return isinstance(op, keras.layers.Layer) and op.name not in backbone_layers and op.name != "pixels"


def candidates(network: keras.Model, top: Sequence[str]) -> Iterator[tuple[list[keras.Operation], int]]:
    """Cuts from the frontier `top` downwards, each one operation lower, with the operations that recompute the frontier."""
    below = graph.between(network, [], top)
    needed, last = graph.needs(network), {name: len(below) for name in top}
    for number, op in enumerate(below):
        for name in needed[op.name]:
            last[name] = max(number, last.get(name, 0))  # the last operation that takes this one's output
    recomputed = 0
    for number in reversed(range(len(below))):
        yield [op for op in below[: number + 1] if last[op.name] > number], recomputed
        recomputed += operations(below[number])


def values(op: keras.Operation) -> int:
    """Numbers in the operation's output for one image; none where that is the pixels, which are stored anyway."""
    return 0 if isinstance(op, keras.layers.InputLayer) else math.prod(op.output.shape[1:])


def operations(op: keras.Operation) -> int:
    """About how many operations the output takes: one a value, a multiplication and an addition for a weight and position."""
    weights = op.count_params() if isinstance(op, keras.layers.Layer) else 0
    return values(op) + int(2 * weights * math.prod(op.output.shape[1:-1]))


def reduced(network: keras.Model, cut: Sequence[str]) -> list[str]:
    """The same cut one operation further up, where that is a head's pooling: fewer values, which cannot change either."""
    takers = [op for op, needed in zip(network.operations, graph.needs(network).values(), strict=True) if set(cut) & set(needed)]
    if len(cut) != 1 or len(takers) != 1 or can_change(takers[0]) or not isinstance(takers[0], keras.layers.Layer):
        return []
    pooling, before = takers[0], graph.tensors(network, cut)[0]
    fewer = math.prod(pooling.output.shape[1:]) < math.prod(before.shape[1:])
    return [pooling.name] if fewer and not pooling.weights else []
