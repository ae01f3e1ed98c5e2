"""Networks as a Keras user makes them, without kpipe: a head trained on a frozen backbone's features; healthy, or with a fault."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.benchmarks.exam.cases import USUAL
from tests.benchmarks.exam.pictures import SIZE

MEANS = (123.68, 116.779, 103.939)  # of ImageNet's red, green and blue, as preprocess_input takes them off
TORCH = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # torchvision's mean and standard deviation of pixels of 0..1
Pictures = tuple[NDArray[np.uint8], NDArray[np.int32]]


def caffe(x: Any) -> Any:
    """Blue, green, red, less their means: what both backbones were trained on."""
    return keras.layers.Rescaling(1.0, offset=[-mean for mean in reversed(MEANS)])(keras.ops.flip(x, axis=-1))


def torch(x: Any) -> Any:
    """Red, green, blue, standardised."""
    means, deviations = TORCH
    scale = [1 / (255 * deviation) for deviation in deviations]
    return keras.layers.Rescaling(scale, offset=[-m / d for m, d in zip(means, deviations, strict=True)])(x)


PIXELS: Mapping[str, Any] = {
    "caffe": caffe,
    "unit": keras.layers.Rescaling(1 / 255),
    "symmetric": keras.layers.Rescaling(1 / 127.5, offset=-1.0),
    "none": lambda x: x,
    "swapped": keras.layers.Rescaling(1.0, offset=[-mean for mean in MEANS]),
    "twice": lambda x: caffe(caffe(x)),
    "torch": torch,
}


def read(folder: Path, split: str) -> Pictures:
    """All pictures of a split."""
    names = sorted(path.name for path in (folder / "train").iterdir())
    files = [(path, label) for label, name in enumerate(names) for path in sorted((folder / split / name).glob("*.png"))]
    images = np.stack([np.asarray(Image.open(path)) for path, _ in files])
    return images, np.array([label for _, label in files], np.int32)


@cache
def backbone(model: str, weights: str) -> keras.Model:
    """The published architecture with weights from a file."""
    build = {"resnet50": keras.applications.ResNet50, "vgg16": keras.applications.VGG16}[model]
    return build(include_top=False, weights=weights, input_shape=(SIZE, SIZE, 3))


@cache
def pixels(kind: str) -> keras.Model:
    """0..255 RGB to what the backbone is given."""
    image = keras.Input((SIZE, SIZE, 3))
    return keras.Model(image, PIXELS[kind](image))


@cache
def features(
    model: str, weights: str, kind: str, folder: Path, split: str, adapted: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """What a backbone makes of a split's pictures, and the labels; `adapted` to the training pictures, as training leaves it."""
    images, labels = read(folder, split)
    trunk = backbone(model, weights)
    kept = trunk.get_weights()
    if adapted:
        trunk.set_weights(followed(model, weights, kind, folder))
    found = trunk.predict(pixels(kind).predict(images.astype("float32"), verbose=0), verbose=0)
    trunk.set_weights(kept)
    return found, labels


@cache
def followed(model: str, weights: str, kind: str, folder: Path) -> list[NDArray[np.float32]]:
    """The backbone's weights with statistics of the training pictures in its last block."""
    trunk = backbone(model, weights)
    kept = trunk.get_weights()
    adapt(trunk, pixels(kind).predict(read(folder, "train")[0].astype("float32"), verbose=0))
    found = trunk.get_weights()
    trunk.set_weights(kept)
    return list(found)


class Network:
    """A backbone, a head that is trained on its features, and what was done to it.

    `settings`: "pixels" is how they are scaled; "outside" that the program does so before the network; "nested" that the
    backbone is a layer; "units", "flatten", "sigmoid", "logits" and "bias" (of the first class) are of the head; "rate",
    "epochs"; "validation_pixels" those that the program gives validation alone; "stop" at the best epoch; "weigh" the classes; "stale": steps after which BatchNormalization stopped to follow; "renamed": outputs in another order; "dead": that
    no hidden unit fires.
    """

    def __init__(self, model: str, weights: str, folder: Path, settings: Mapping[str, Any]) -> None:
        keras.utils.set_random_seed(1)
        self.model, self.weights, self.folder, self.settings = model, weights, folder, USUAL[model] | settings
        self.kind = settings.get("pixels", "caffe")
        self.classes = sum(path.is_dir() for path in (folder / "train").iterdir())
        self.head = self.make_head()
        self.history: list[dict[str, float]] = []

    def of(self, split: str, pixels: str = "") -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Features and labels of a split, whose pixels may be scaled in another way."""
        return features(self.model, self.weights, pixels or self.kind, self.folder, split, "stale" in self.settings)

    def make_head(self) -> keras.Sequential:
        """Pooling, perhaps a hidden layer, an output."""
        layers = keras.layers
        head = [layers.Flatten() if self.settings.get("flatten") else layers.GlobalAveragePooling2D()]
        if self.settings.get("units"):
            head.append(layers.Dense(self.settings["units"], activation="relu", name="hidden"))
        one = self.settings.get("sigmoid")
        activation = None if self.settings.get("logits") else "sigmoid" if one else "softmax"
        head.append(layers.Dense(1 if one else self.classes, activation=activation, name="output"))
        return keras.Sequential([keras.Input(backbone(self.model, self.weights).output.shape[1:]), *head], name="head")

    def train(self) -> None:
        """Fit the head as a script does, then do to the network what the case wants."""
        logits = bool(self.settings.get("logits"))
        losses = keras.losses
        loss = losses.BinaryCrossentropy() if self.settings.get("sigmoid") else losses.SparseCategoricalCrossentropy(logits)
        self.head.compile(keras.optimizers.Adam(self.settings["rate"]), loss, metrics=["accuracy"])
        (x, y), validation = self.of("train"), self.of("validation", self.settings.get("validation_pixels", ""))
        epochs = self.settings["epochs"]
        stop = [keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)] if self.settings.get("stop") else []
        counts = np.bincount(y, minlength=self.classes)
        weights = dict(enumerate(len(y) / (self.classes * counts))) if self.settings.get("weigh") else None
        fitted = self.head.fit(
            x, y, batch_size=20, epochs=epochs, validation_data=validation, verbose=0, callbacks=stop, class_weight=weights
        )
        self.history = [dict(zip(fitted.history, row, strict=True)) for row in zip(*fitted.history.values(), strict=True)]
        output = self.head.get_layer("output")
        kernel, bias = output.get_weights()
        if turns := self.settings.get("renamed"):
            output.set_weights([np.roll(kernel, turns, axis=1), np.roll(bias, turns)])
        if self.settings.get("bias"):
            output.set_weights([kernel, bias + self.settings["bias"] * np.eye(1, len(bias), dtype="float32")[0]])
        if self.settings.get("dead"):
            hidden = self.head.get_layer("hidden")
            hidden.set_weights([hidden.get_weights()[0], np.full(hidden.units, -1e6, "float32")])

    def whole(self) -> keras.Model:
        """Pixels, backbone and head in one model."""
        trunk = backbone(self.model, self.weights)
        trunk.trainable = False
        image = keras.Input((SIZE, SIZE, 3))
        given = image if self.settings.get("outside") else PIXELS[self.kind](image)
        if self.settings.get("nested"):
            return keras.Model(image, self.head(trunk(given, training=False)))
        return keras.Model(image, self.head(trunk._run_through_graph(given, operation_fn=lambda layer: layer)))

    def save(self, path: Path) -> float:
        """Write the file; the accuracy on the test pictures, as the file is used. The backbone is as before afterwards."""
        trunk = backbone(self.model, self.weights)
        kept = trunk.get_weights()
        if "stale" in self.settings:
            trunk.set_weights(followed(self.model, self.weights, self.kind, self.folder))
            age(trunk, self.settings["stale"])
        whole = self.whole()
        for layer in trunk.layers:
            layer.trainable = "stale" in self.settings and layer.name.startswith("conv5_block3")
        whole.save(path)
        accuracy = self.accuracy(whole if "stale" in self.settings else None)
        trunk.set_weights(kept)
        return accuracy

    def accuracy(self, whole: keras.Model | None = None) -> float:
        """On the test pictures: of the whole network, or of the head on the features of the backbone as it was."""
        x, y = self.of("test")
        if whole:
            values = whole.predict(read(self.folder, "test")[0].astype("float32"), verbose=0)
        else:
            values = self.head.predict(x, verbose=0)
        called = values[:, 0] > 0.5 if values.shape[1] == 1 else values.argmax(axis=1)
        return float((called == y).mean())

    def write_history(self, path: Path) -> None:
        """As keras.callbacks.CSVLogger writes it."""
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, ["epoch", *self.history[0]])
            table.writeheader()
            table.writerows({"epoch": number, **row} for number, row in enumerate(self.history))


def last_batchnorms(trunk: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Those of the last block."""
    kind = keras.layers.BatchNormalization
    return [layer for layer in trunk.layers if isinstance(layer, kind) and layer.name.startswith("conv5_block3")]


def adapt(trunk: keras.Model, given: NDArray[np.float32]) -> None:
    """Give the last block the statistics of what it sees, as a training in batch mode has them in every step."""
    for layer in trunk.layers:
        layer.trainable = layer in last_batchnorms(trunk)
    kept = [layer.momentum for layer in last_batchnorms(trunk)]
    for layer in last_batchnorms(trunk):
        layer.momentum = 0.0
    trunk(given, training=True)
    for layer, momentum in zip(last_batchnorms(trunk), kept, strict=True):
        layer.momentum = momentum


def age(trunk: keras.Model, steps: int) -> None:
    """Statistics of the last block as they are after so many steps with a momentum of 0.99, from 0 and 1."""
    left = 0.99**steps
    for layer in last_batchnorms(trunk):
        layer.moving_mean.assign(layer.moving_mean * (1 - left))
        layer.moving_variance.assign(layer.moving_variance * (1 - left) + left)
