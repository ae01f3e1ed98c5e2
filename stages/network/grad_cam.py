"""Grad-CAM: which places of an image speak for a class.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization" (arXiv 1610.02391).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import StageError
from stages.network import graph, nested

PLACES = 4  # along each side, at least: fewer tell no place
POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


@dataclass(frozen=True)
class Step:
    """An operation of a network, with the tensors that enter and leave it."""

    op: keras.Operation
    takes: list[keras.KerasTensor]
    gives: Any  # a tensor, or several


@dataclass(frozen=True)
class GradCam:
    """A network in two parts: `below` gives the feature map called `name`, `above` the scores (N, K) that follow from it.

    `last` says whether it is the network's last.
    """

    name: str
    last: bool
    below: keras.Model
    above: keras.Model

    @classmethod
    def of(cls, network: keras.Model) -> GradCam:
        """Cut at the last feature map of a convolution (with its normalization and activation, before a pooling).

        It is one that all of the output follows from, and that has at least PLACES x PLACES places; where none has, the one
        with the most. StageError where the network has no convolution.
        """
        image, taken = steps(network)
        maps = feature_maps(taken)
        found = next((step for step in reversed(maps) if side(step) >= PLACES), max(reversed(maps), key=side))
        return cls(found.op.name, found is maps[-1], keras.Model(image, found.gives), keras.Model(found.gives, scores(taken[-1])))

    def heat(self, maps: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.float32]:
        """(N, h, w), from 0: how much each place of the maps (N, h, w, channels) speaks for the image's class in `classes` (N,).

        The channels' sum, each weighted by the mean gradient of the class's score before the softmax, where it is positive.
        """
        weights = gradient(self.above, maps, classes).mean(axis=(1, 2), dtype=np.float64)
        summed: NDArray[np.float64] = np.einsum("nhwc,nc->nhw", maps.astype(np.float64), weights)
        return np.maximum(summed, 0).astype(np.float32)


def steps(network: keras.Model) -> tuple[Any, list[Step]]:
    """The network's input, and its operations in an order in which they can be computed; those of models inside it, not these."""
    if not isinstance(network, keras.Sequential) and not any(isinstance(op, keras.Model) for op in network.operations):
        return network.input, [Step(op, graph.inputs(op), op.output) for op in network.operations]
    taken: list[Step] = []

    def leaf(op: keras.Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        takes = [value for value in keras.tree.flatten((args, kwargs)) if isinstance(value, keras.KerasTensor)]
        taken.append(Step(op, takes, op(*args, **kwargs)))
        return taken[-1].gives

    image = keras.Input(network.inputs[0].shape[1:], dtype=network.inputs[0].dtype)
    nested.call(network, leaf, image)
    return image, taken


def feature_maps(taken: Sequence[Step]) -> list[Step]:
    """The steps from the first convolution on that give feature maps all of the output follows from, poolings left out."""
    convolved = next((number for number, step in enumerate(taken) if hasattr(step.op, "kernel_size")), len(taken))
    maps = [
        step
        for number, step in narrow(taken)
        if number >= convolved and len(step.gives.shape) == 4 and not isinstance(step.op, POOLING)
    ]
    if not maps:
        raise StageError("the network has no feature map of a convolution that its whole output follows from")
    return maps


def side(step: Step) -> int:
    """Places along the shorter side of what a step gives."""
    return int(min(step.gives.shape[1:3]))


def narrow(taken: Sequence[Step]) -> Iterator[tuple[int, Step]]:
    """The steps, numbered, whose output is all that later ones take."""
    last = {id(tensor): number for number, step in enumerate(taken) for tensor in step.takes}
    wanted = {id(tensor) for tensor in taken[0].takes}
    for number, step in enumerate(taken):
        wanted |= {id(tensor) for tensor in keras.tree.flatten(step.gives)}
        wanted = {tensor for tensor in wanted if last.get(tensor, -1) > number}
        if wanted == {id(step.gives)}:
            yield number, step


def scores(last: Step) -> keras.KerasTensor:
    """What the last step's activation is given."""
    if isinstance(last.op, keras.layers.Activation | keras.layers.Softmax):
        return last.takes[0]
    if getattr(last.op, "activation", None) in (None, keras.activations.linear):
        return last.gives
    linear = type(last.op).from_config({**last.op.get_config(), "activation": "linear", "name": "scores"})
    given = linear(*last.takes)
    linear.set_weights(last.op.get_weights())
    return given


def gradient(model: keras.Model, values: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Of each image's output for its class, with respect to the values that the model is given, in inference mode."""
    chosen = np.eye(model.output_shape[-1], dtype=np.float32)[classes]
    if keras.backend.backend() == "jax":
        import jax

        def total(values: Any, learned: Any, others: Any) -> Any:
            return (model.stateless_call(learned, others, values, training=False)[0] * chosen).sum()

        learned, others = ([v.value for v in group] for group in (model.trainable_variables, model.non_trainable_variables))
        return np.asarray(jax.jit(jax.grad(total))(values, learned, others))
    import tensorflow as tf

    given = tf.convert_to_tensor(values)
    with tf.GradientTape() as tape:
        tape.watch(given)
        total_score = tf.reduce_sum(model(given, training=False) * chosen)
    return np.asarray(tape.gradient(total_score, given))
