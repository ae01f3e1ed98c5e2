"""Loss and accuracy of predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TINY = float(np.finfo(np.float32).tiny)  # the smallest probability whose logarithm is taken


def cross_entropies(probabilities: NDArray[Any], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """The loss of every image in nats, of (N, K) probabilities against (N,) class indices: what every log loss is the mean of.

    Not cut off at 1e-7, as Keras's is, nor at the type's epsilon, as `sklearn.metrics.log_loss` does.
    """
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.clip(given, TINY, 1)))


def loss_and_accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> tuple[float, float]:
    """Mean categorical cross-entropy in nats and top-1 accuracy of (N, K) probabilities against (N,) class indices."""
    return float(cross_entropies(probabilities, labels).mean()), float((probabilities.argmax(axis=1) == labels).mean())


def of_logits(logits: NDArray[np.float32], labels: NDArray[np.int32]) -> tuple[float, float]:
    """The same of (N, K) logits: a loss without an upper bound, that falls while a network becomes less sure of wrong classes."""
    values = logits.astype(np.float64)
    losses = np.logaddexp.reduce(values, axis=1) - values[np.arange(len(labels)), labels]
    return float(losses.mean()), float((logits.argmax(axis=1) == labels).mean())
