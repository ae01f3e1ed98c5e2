"""Loss and accuracy of predicted probabilities, as Keras defines them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-7  # keras.config.epsilon(): Keras clips probabilities there before it takes their logarithm


def losses(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Categorical cross-entropy in nats of each image: (N, K) probabilities against (N,) class indices."""
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.clip(true, EPSILON, 1 - EPSILON)))


def loss_and_accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> tuple[float, float]:
    """Mean categorical cross-entropy in nats and top-1 accuracy of (N, K) probabilities against (N,) class indices."""
    return float(losses(probabilities, labels).mean()), float((probabilities.argmax(axis=1) == labels).mean())
