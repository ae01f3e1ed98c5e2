"""A linear probe: how well a logistic regression on a backbone's pooled features tells the classes apart."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from stages.network.feed import Feed

FIT = 256  # images that the probe is fitted on; as many others judge it


def measure(images: int) -> str:
    """What `accuracy` is, on so many images."""
    return f"accuracy of a linear probe, fitted on {images // 2} training images, on {images - images // 2} others"


def pooled(body: keras.Model) -> keras.Model:
    """A body with its feature map averaged over its places; one model for all pixels, so that it is compiled once."""
    return keras.Model(body.input, keras.layers.GlobalAveragePooling2D()(body.output))


def features(pooled: keras.Model, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (N, channels) that a pooled body makes of what its first layer is given."""
    return Feed(pooled, (pixels,)).predict(np.arange(len(pixels)))


def accuracy(features: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """Accuracy on the second half of a probe (Alain & Bengio 2016, arXiv 1610.01644) fitted on the first half.

    All features are divided by one number, not each by its own spread: that would amplify what is left of a signal
    that the head of the network, which is not so lucky, cannot find.
    """
    half = len(labels) // 2
    scaled = features / max(float(np.sqrt(np.square(features[:half], dtype=np.float64).mean())), 1e-12)
    if len(np.unique(labels[:half])) < 2:
        return float((labels[half:] == labels[0]).mean())
    probe = LogisticRegression(max_iter=1000).fit(scaled[:half], labels[:half])
    return float(probe.score(scaled[half:], labels[half:]))
