"""Whether a network's probabilities are as often right as they say, and the temperature that mends it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from stages.network.scores import TINY, cross_entropies

BINS = 15  # at most
LEAST = 10  # images in a bin, or its accuracy says nothing
COLDEST, HOTTEST = 0.05, 20.0


def temperature(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> float:
    """The temperature by which the logits are divided so that the log loss on these (N, K), (N,) is smallest.

    Guo, Pleiss, Sun & Weinberger 2017, "On Calibration of Modern Neural Networks". Above 1: the network is too sure.
    """
    logits, rows = np.log(np.maximum(probabilities, TINY)), np.arange(len(labels))

    def loss(logarithm: float) -> float:
        return float(-log_softmax(logits / np.exp(logarithm), axis=1)[rows, labels].mean())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def tempered(probabilities: NDArray[np.float64], by: float) -> NDArray[np.float64]:
    """The probabilities at another temperature."""
    scaled: NDArray[np.float64] = softmax(np.log(np.maximum(probabilities, TINY)) / by, axis=1)
    return scaled


def reliability(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> dict[str, Any]:
    """Expected calibration error, and the bins of the reliability diagram: mean confidence, accuracy, number of images.

    The bins hold equally many images each (adaptive calibration error: Nixon et al. 2019, "Measuring Calibration in Deep
    Learning"), ordered by the confidence, which is the probability of the class that is named.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, max(min(BINS, len(order) // LEAST), 1))
    bins = [
        {"confidence": float(confidence[part].mean()), "accuracy": float(right[part].mean()), "images": len(part)}
        for part in parts
    ]
    error = sum(part["images"] * abs(part["confidence"] - part["accuracy"]) for part in bins) / len(labels)
    return {"error": float(error), "bins": bins}


def tell(
    validation: tuple[NDArray[np.float64], NDArray[np.int32]], test: tuple[NDArray[np.float64], NDArray[np.int32]]
) -> dict[str, Any]:
    """The temperature fitted on validation, and the test images before and after it: calibration error, bins, log loss."""
    by = temperature(*validation)
    probabilities, labels = test
    told: dict[str, Any] = {"temperature": by}
    for name, values in (("before", probabilities), ("after", tempered(probabilities, by))):
        own = cross_entropies(values, labels)
        told[name] = {**reliability(values, labels), "log_loss": float(own.mean())}
    return told
