"""What training minimises and how: loss, metrics and optimizer, all of them Keras's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import StageError
from stages.network import memory
from stages.training.one_pass import in_one_pass
from stages.training.rates import layered
from stages.training.schedule import Rate, Scaled

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
}
WITH_MOMENTUM = ("sgd", "rmsprop")


@dataclass(frozen=True)
class Objective:
    """What is asked for; it is the same in all phases."""

    optimizer: str
    momentum: float = 0.0
    weight_decay: float | None = None  # None: the Keras optimizer's default
    label_smoothing: float = 0.0
    class_weights: str = "none"
    precision: str = "float32"  # or mixed_bfloat16, mixed_float16: of the layers that are fitted

    def __post_init__(self) -> None:
        if self.momentum and self.optimizer not in WITH_MOMENTUM:
            raise StageError(f"momentum = {self.momentum:g}: {self.optimizer} has no such setting", hint='optimizer = "sgd"')

    @property
    def loss(self) -> keras.Loss:
        """Categorical cross-entropy of logits, of class indices where labels are not smoothed."""
        if self.label_smoothing:
            return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=self.label_smoothing)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def targets(self, index: NDArray[np.int32], classes: int) -> NDArray[Any]:
        """What the loss is given for each image: its class index, or a row with a 1 in that column."""
        return np.eye(classes, dtype=np.float32)[index] if self.label_smoothing else index

    def weights(self, index: NDArray[np.int32]) -> dict[int, float] | None:
        """Keras's class_weight from the classes of the training images, by scikit-learn's formula for "balanced"."""
        if self.class_weights == "none":
            return None
        found, counts = np.unique(index, return_counts=True)
        return {int(i): len(index) / (len(found) * int(count)) for i, count in zip(found, counts, strict=True)}

    def as_json(self, classes: Sequence[str], weights: Mapping[int, float] | None) -> dict[str, Any]:
        """For training.json, with the weight of each class that has training images."""
        return {
            "loss": self.loss.name,
            "label_smoothing": self.label_smoothing,
            "class_weights": {classes[i]: weight for i, weight in weights.items()} if weights else None,
            "precision": self.precision,
            "optimizer": self.optimizer,
            "momentum": self.momentum,
            "weight_decay": self.build(1.0).weight_decay,
        }

    def build(self, rate: Rate, shares: Sequence[float] = ()) -> keras.Optimizer:
        """A new Keras optimizer; `shares` of the rate, one for each variable that learns, where they differ."""
        settings: dict[str, Any] = {} if self.weight_decay is None else {"weight_decay": self.weight_decay}
        if self.momentum:
            settings["momentum"] = self.momentum
        kind = in_one_pass(OPTIMIZERS[self.optimizer])
        return (layered(kind, shares) if shares else kind)(rate, **settings)


def compile_model(
    model: keras.Model, objective: Objective, rate: Rate, shares: Sequence[float] = (), *, scaled: bool = False
) -> Rate:
    """Give the model that is fitted its loss, its metrics and a new optimizer, whose variables are built.

    The loss takes logits: fit the model within `head.logits`.
    Returns the rate that the optimizer follows: with `scaled` a Scaled, whose variable is one of the optimizer's.
    """
    optimizer = objective.build(rate, shares)
    if scaled:
        rate = Scaled(rate, optimizer.add_variable((), initializer="ones", name="plateau"))
        optimizer.learning_rate = rate
    if objective.precision == "mixed_float16":  # small gradients would be 0
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, loss=objective.loss, metrics=["accuracy"])
    optimizer.build(model.trainable_variables)
    memory.give_back_with(optimizer, optimizer.variables)
    return rate
