"""Whether a network's probabilities are as often right as they say, and the temperature that mends it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import rankdata

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

    The confidence is the probability of the class that is named. The bins hold equally many images each as far as equal
    confidences allow (adaptive calibration error: Nixon et al. 2019, "Measuring Calibration in Deep Learning").
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = bins_of(confidence)
    images = np.bincount(place)
    means = [np.bincount(place, weights=values) / images for values in (confidence, right)]
    bins = [
        {"confidence": float(sure), "accuracy": float(share), "images": int(count)}
        for sure, share, count in zip(*means, images, strict=True)
    ]
    return {"error": float(images @ abs(means[0] - means[1]) / len(labels)), "bins": bins}


def bins_of(confidence: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin of every image by its rank; equal confidences share their mean rank, and so their bin."""
    count = max(min(BINS, len(confidence) // LEAST), 1)
    place = (rankdata(confidence) - 0.5) * count // len(confidence)
    return np.unique(place, return_inverse=True)[1]


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
