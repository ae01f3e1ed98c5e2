"""What training minimises and how: loss, metrics and optimizer, all of them Keras's own."""

from __future__ import annotations

import keras

LOSS = "sparse_categorical_crossentropy"  # categorical cross-entropy of class indices
OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
}


def compile_model(model: keras.Model, optimizer: str, learning_rate: float) -> None:
    """Give the model that is fitted its loss, its metrics and a new optimizer, whose variables are built."""
    model.compile(OPTIMIZERS[optimizer](learning_rate), loss=LOSS, metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
