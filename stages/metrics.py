"""Metrics of predicted probabilities, computed by scikit-learn and SciPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support


def of_split(
    probabilities: NDArray[np.float64], labels: NDArray[np.int32], classes: Sequence[str], majority: int
) -> dict[str, Any]:
    """Everything told of one split: (N, K) probabilities against (N,) class indices.

    Accuracy with its 95% interval (Wilson 1927), macro F1, log loss in nats, confusion matrix (rows are the true
    classes), precision, recall and F1 of each class (0 where undefined), and the accuracy of always naming the
    class `majority`, the most frequent one among the training images.
    """
    order = list(range(len(classes)))
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)  # they were rounded to float32
    predicted = probabilities.argmax(axis=1)
    correct = int((predicted == labels).sum())
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=order, zero_division=0)
    return {
        "images": len(labels),
        "accuracy": correct / len(labels),
        "accuracy_interval": interval(correct, len(labels)),
        "macro_f1": float(f1.mean()),
        "log_loss": float(log_loss(labels, probabilities, labels=order)),
        "confusion": confusion_matrix(labels, predicted, labels=order).tolist(),
        "per_class": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(classes)
        },
        "majority_accuracy": float((labels == majority).mean()),
    }


def interval(successes: int, trials: int) -> list[float]:
    """The 95% confidence interval of a share (Wilson 1927)."""
    found = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return [float(found.low), float(found.high)]
