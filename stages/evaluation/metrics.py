"""Metrics of predicted probabilities, computed by scikit-learn and SciPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from stages import bootstrap
from stages.evaluation import weighted


def of_split(
    probabilities: NDArray[np.float64], labels: NDArray[np.int32], classes: Sequence[str], majority: int
) -> dict[str, Any]:
    """Everything told of one split: (N, K) probabilities against (N,) class indices.

    Accuracy with its 95% interval (Wilson 1927); macro F1, log loss in nats and the area under the ROC curve (one class against
    the rest, mean over the classes) with bootstrap intervals; confusion matrix (rows are the true classes), precision,
    recall and F1 of each class (0 where undefined), and the accuracy of always naming the class `majority`, the most
    frequent one among the training images. Macro F1 leaves out a class that is neither there nor named. None for what is
    not defined: the area where a class has no images. Probabilities are taken as they
    are written: rounded to float32 their sums differ, and dividing by these would rank images apart that tie.
    """
    order = list(range(len(classes)))
    predicted = probabilities.argmax(axis=1)
    correct = int((predicted == labels).sum())
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=order, zero_division=0)
    return {
        "images": len(labels),
        "accuracy": correct / len(labels),
        "accuracy_interval": interval(correct, len(labels)),
        **with_intervals(probabilities, labels),
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


def with_intervals(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> dict[str, Any]:
    """Macro F1, log loss and area under the ROC curve with their 95% intervals."""
    told: dict[str, Any] = {}
    images, classes = probabilities.shape
    for name, metric in (("macro_f1", weighted.macro_f1), ("log_loss", weighted.log_loss), ("auc", weighted.auc)):
        statistic = metric(probabilities, labels)
        value = float(statistic(np.ones((1, images)))[0])
        found = bootstrap.interval(statistic, images, classes=classes) if np.isfinite(value) else None
        told |= {name: value if np.isfinite(value) else None, f"{name}_interval": list(found) if found else None}
    return told


def interval(successes: int, trials: int) -> list[float]:
    """The 95% confidence interval of a share (Wilson 1927)."""
    found = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return [float(found.low), float(found.high)]
