"""What the last layer of a network tells of its training, when nothing else is left of that."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from stages.diagnosis.finding import Finding

GREW = 1.5  # size of a kernel, in that of a fresh one, which no draw has by chance


def changes(model: keras.Model) -> dict[str, float]:
    """How far training moved the output layer, in the size of its weights as they are drawn; empty where that is not known.

    Keras begins biases with 0, and with Adam one comes as far as any weight; weights that were thrown far are larger than drawn.
    """
    last = next((layer for layer in reversed(model.layers) if isinstance(layer, keras.layers.Dense)), None)
    if last is None or not (last.trainable and last.use_bias and isinstance(last.bias_initializer, keras.initializers.Zeros)):
        return {}
    initializer = type(last.kernel_initializer).from_config(last.kernel_initializer.get_config())
    drawn = size(initializer(last.kernel.shape))
    grew = size(last.kernel) / drawn if drawn else 0.0
    farthest = float(np.abs(keras.ops.convert_to_numpy(last.bias)).max())
    return {last.name: max(farthest / drawn, grew - 1 if grew > GREW else 0.0)} if drawn else {}


def saturates(model: keras.Model) -> bool:
    """Whether the outputs are those of a softmax or of sigmoids."""
    last = model.layers[-1]
    kinds = (keras.activations.softmax, keras.activations.sigmoid)
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) in kinds


def find(model: keras.Model) -> Finding | None:
    """The finding where the last layer is a softmax of one unit, which gives 1 whatever it is shown."""
    last = model.layers[-1]
    softmax = isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax
    if not softmax or model.outputs[0].shape[-1] != 1:
        return None
    return Finding(
        rule="softmax-of-one",
        severity="error",
        title="The last layer is a softmax of one unit",
        cause=f'The softmax of "{last.name}" divides one value by itself: every image gets 1, and nothing can be learned.',
        evidence={"units": 1},
        fix='keras.layers.Dense(1, activation="sigmoid") with binary_crossentropy, or one unit a class',
    )


def size(values: Any) -> float:
    """Root mean square."""
    return float(np.sqrt(np.square(keras.ops.convert_to_numpy(values), dtype=np.float64).mean()))
