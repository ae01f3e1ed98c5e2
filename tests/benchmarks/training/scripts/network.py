"""The network as a Keras user builds it: a published backbone with its preprocessing, a new head, the last layers unfrozen."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import keras

APPLICATIONS = {"resnet50": keras.applications.ResNet50, "vgg16": keras.applications.VGG16}


def preprocessing(model: str) -> ModuleType:
    """The module that has the network's preprocess_input."""
    module: ModuleType = getattr(keras.applications, model)
    return module


def build(told: dict[str, Any], preprocessed: bool = False) -> keras.Model:
    """A compiled model of RGB pixels 0..255, or of `preprocessed` ones. Frozen BatchNormalization is in inference mode."""
    image = keras.Input((told["size"], told["size"], 3))
    pixels = image if preprocessed else preprocessing(told["model"]).preprocess_input(image)
    weights = None if told["weights"] == "random" else told["weights"]
    backbone = APPLICATIONS[told["model"]](include_top=False, weights=weights, input_tensor=pixels)
    for layer in backbone.layers[: len(backbone.layers) - told["unfreeze"]]:
        layer.trainable = False
    pool = keras.layers.Flatten() if told["pooling"] == "flatten" else keras.layers.GlobalAveragePooling2D()
    features = pool(backbone.output)
    if told["units"]:
        features = keras.layers.Dense(told["units"], activation="relu")(features)
    if told["dropout"]:
        features = keras.layers.Dropout(told["dropout"])(features)
    network = keras.Model(image, keras.layers.Dense(told["classes"], activation="softmax")(features))
    network.compile(keras.optimizers.Adam(told["learning_rate"]), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return network
