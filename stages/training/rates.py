"""Lower learning rates for lower layers (Howard & Ruder 2018, section 3.1, "discriminative fine-tuning")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from stages.network.head import is_batchnorm


def layer_shares(network: keras.Model, backbone_layers: Sequence[str], decay: float) -> dict[str, float]:
    """The share of the learning rate at which each layer with weights learns: decay ** (its depth below the head).

    The head has depth 0. Below it the backbone's layers with weights are counted, from its last one down; a
    BatchNormalization layer has the depth of the layer before it.
    """
    shares = {layer.name: 1.0 for layer in network.layers if layer.weights and layer.name not in backbone_layers}
    depth = 0
    for layer in (network.get_layer(name) for name in reversed(backbone_layers)):
        if layer.weights:
            depth += not is_batchnorm(layer)
            shares[layer.name] = decay ** (depth + is_batchnorm(layer))
    return shares


def variable_shares(model: keras.Model, shares: Mapping[str, float]) -> list[float]:
    """The share of each of the model's trainable variables, in their order."""
    of = {id(variable): shares[layer.name] for layer in model.layers for variable in layer.trainable_variables}
    return [of[id(variable)] for variable in model.trainable_variables]


def layered(optimizer: type[keras.Optimizer], shares: Sequence[float]) -> type[keras.Optimizer]:
    """The Keras optimizer's class with a rate for each of the variables it is built with: its share of the common one."""

    class Layered(optimizer):  # type: ignore[misc]  # keras has no types
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            """One step of one variable, at its own rate; the weight decay too, as if each layer had its own optimizer."""
            rate = keras.ops.cast(learning_rate, variable.dtype) * shares[self._get_variable_index(variable)]
            if self.weight_decay is not None and self._use_weight_decay(variable):
                self.assign_sub(variable, variable * self.weight_decay * rate)
            super().update_step(gradient, variable, rate)

        def _apply_weight_decay(self, variables: Any) -> None:
            """Nothing: Keras would decay all variables at the common rate."""

    return Layered
