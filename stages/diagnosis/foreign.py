"""A network that another program trained: taken apart into one graph, whatever models are nested in it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from kpipe.stage import StageError
from stages.diagnosis import units
from stages.diagnosis.input_scale import Entry
from stages.network import nested
from stages.network.batchnorm import BatchMode, BatchStatistics
from stages.network.feed import Feed

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D, keras.layers.Conv2DTranspose)
PUBLISHED = {  # name and kernel of the first convolution, which has a bias, and the name of the first BatchNormalization
    ("block1_conv1", (3, 3, 3, 64), None),  # VGG16, VGG19
    ("conv1_conv", (7, 7, 3, 64), "conv1_bn"),  # ResNets; DenseNet's has no bias, ResNetV2 no conv1_bn
}
ROUNDED = 1e-2  # by which probabilities of low precision may miss 1
SMOOTH = 0.2  # correlation of neighbouring values of a first kernel: near 0 where it was drawn at random


@dataclass
class Foreign:
    """The network as one graph. `batch_mode` are BatchNormalization layers that use the statistics of their batch."""

    model: keras.Model
    batch_mode: Collection[str] = ()
    batchnorms: list[keras.layers.BatchNormalization] = field(default_factory=list)
    relus: dict[str, Any] = field(default_factory=dict)  # layer -> output tensor
    convolution: keras.layers.Conv2D | None = None  # the first, where it takes pixels of three channels
    convolved: bool = False  # whether there is a convolution of any kind
    pixels: Any = None  # tensor that enters it, before it is padded
    padded: dict[int, Any] = field(default_factory=dict)  # id of what a padding gives -> tensor that enters the padding
    first: keras.layers.BatchNormalization | None = None  # above it
    entering: Any = None  # tensor that enters that
    features: Any = None  # tensor: the last feature map
    moments: dict[str, Any] = field(default_factory=dict)  # layer in batch mode -> mean, variance of what enters it

    def __post_init__(self) -> None:
        nested.distinguish(self.model)
        image = keras.Input(self.model.inputs[0].shape[1:], dtype=self.model.inputs[0].dtype)
        self.whole = keras.Model(image, *keras.tree.flatten(self.call(self.model, image)))

    def call(self, layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        """Call a layer, and remember the tensors by it that rules look at; models are gone through."""
        return nested.call(layer, self.remember, *args, **kwargs)

    def remember(self, layer: keras.Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a layer that is no model."""
        if isinstance(layer, CONVOLUTIONS) and not self.convolved:
            self.convolved = True
            if isinstance(layer, keras.layers.Conv2D) and args[0].shape[-1] == 3:
                self.convolution, self.pixels = layer, self.padded.get(id(args[0]), args[0])
        if isinstance(layer, keras.layers.BatchNormalization):
            if self.convolution is not None and self.first is None and len(args[0].shape) == 4:
                self.first, self.entering = layer, args[0]
            self.batchnorms.append(layer)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.name in self.batch_mode:
            result, *self.moments[layer.name] = BatchStatistics(layer)(*args)
        else:
            result = layer(*args, **kwargs)
        if isinstance(layer, keras.layers.ZeroPadding2D):
            self.padded[id(result)] = args[0]
        if units.rectifies(layer):
            self.relus[layer.name] = result
        if len(getattr(result, "shape", ())) == 4:
            self.features = result
        return result

    @cached_property
    def entry(self) -> Entry | None:
        """The network cut where its first convolution takes the pixels; None where it cannot be cut there."""
        if self.convolution is None:
            return None
        try:
            first = (self.first, keras.Model(self.pixels, self.entering)) if self.first else None
            given, body = keras.Model(self.whole.inputs[0], self.pixels), keras.Model(self.pixels, self.features)
        except ValueError:  # something goes round the first convolution
            return None
        return Entry(self.model.name, given, body, first)

    @property
    def pretrained(self) -> bool:
        """Whether it begins as published networks do, with a kernel that has seen pictures: neighbours in it are alike."""
        if self.convolution is None or not self.convolution.use_bias:
            return False
        first = (self.convolution.name, tuple(self.convolution.kernel.shape), self.first.name if self.first else None)
        if first not in PUBLISHED:
            return False
        kernel = np.asarray(self.convolution.kernel, np.float64)
        pairs = ((kernel[:, :-1], kernel[:, 1:]), (kernel[:-1], kernel[1:]))
        return bool(min(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs) > SMOOTH)

    def learning(self) -> list[str]:
        """BatchNormalization layers that ran in batch mode while the network trained, as far as the file tells.

        Without those that are called at several places, which share one pair of statistics.
        """
        return [layer.name for layer in self.batchnorms if layer.trainable and self.batchnorms.count(layer) == 1]

    def in_batch_mode(self) -> BatchMode:
        """The same layers, those that learned on the statistics of their batch."""
        other = Foreign(self.model, self.learning())
        pairs = other.moments.values()
        tensors = [mean for mean, _ in pairs] + [variance for _, variance in pairs]
        return BatchMode(other.whole, keras.Model(other.whole.inputs, tensors), list(other.moments))


def probabilities(model: keras.Model, images: NDArray[Any]) -> NDArray[np.float32]:
    """(N, K) of the classes; one sigmoid unit tells the second of two. Scores that are no probabilities go through a softmax.

    Images of another type than the network's input are cast to it.
    """
    images = images.astype(model.inputs[0].dtype, copy=False)
    return as_probabilities(Feed(model, (images,)).predict(np.arange(len(images))))


def as_probabilities(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, K) probabilities from what a network gives; StageError where that is not one value a class.

    Values of 0..1 that do not add up to 1 are those of one sigmoid a class: they keep their ratios.
    """
    if values.ndim != 2:
        raise StageError(f"the network gives values of shape {values.shape[1:]} for an image", hint="one value a class is needed")
    if values.shape[1] == 1:
        second = values[:, 0] if within(values) else expit(values[:, 0])
        return np.stack([1 - second, second], axis=1).astype(np.float32)
    if within(values) and (sums := values.sum(axis=1, keepdims=True)).any():
        shares = np.where(sums > 0, values, 1)  # none of the classes is as good as any
        sums = shares.sum(axis=1, keepdims=True)
        return (shares / np.where(np.abs(sums - 1) > ROUNDED, sums, 1)).astype(np.float32)
    scaled: NDArray[np.float32] = softmax(values, axis=1).astype(np.float32)
    return scaled


def within(values: NDArray[Any]) -> bool:
    """Whether all are between 0 and 1."""
    return bool((values >= 0).all() and (values <= 1).all())
