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
RESAMPLES = 1000


def temperature(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> float:
    """The temperature by which the logits are divided so that the log loss on these (N, K), (N,) is smallest.

    Guo, Pleiss, Sun & Weinberger 2017, "On Calibration of Modern Neural Networks". Above 1: the network is too sure of these
    images. An end of the range where nothing within it is better, as where no image is named wrongly.
    """
    logits, rows = np.log(np.maximum(probabilities, TINY)), np.arange(len(labels))

    def loss(by: float) -> float:
        return float(-log_softmax(logits / by, axis=1)[rows, labels].mean())

    bounds = np.log(COLDEST), np.log(HOTTEST)
    within = minimize_scalar(lambda x: loss(np.exp(x)), bounds=bounds, method="bounded", options={"xatol": 1e-4}).x
    return min(COLDEST, HOTTEST, float(np.exp(within)), key=lambda by: round(loss(by), 12))


def tempered(probabilities: NDArray[np.float64], by: float) -> NDArray[np.float64]:
    """The probabilities at another temperature."""
    scaled: NDArray[np.float64] = softmax(np.log(np.maximum(probabilities, TINY)) / by, axis=1)
    return scaled


def reliability(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> dict[str, Any]:
    """Expected calibration error, mean confidence minus accuracy (`gap`), what both are of a calibrated network (`calibrated`),
    and the bins of the reliability diagram: mean confidence, accuracy, number of images.

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
    shares = images / len(labels) * (means[0] - means[1])
    told = {"error": float(abs(shares).sum()), "gap": float(shares.sum())}
    return {**told, "calibrated": calibrated(confidence, place), "bins": bins}


def calibrated(confidence: NDArray[np.float64], place: NDArray[np.intp]) -> dict[str, float]:
    """The error of a network that is right as often as it says, on so many images in these bins: its mean, and what 95 of 100
    test sets stay below; of the gap, on either side, the latter.

    The error is no difference but the size of one, and so never 0 by chance. Consistency resampling: Bröcker & Smith 2007,
    "Increasing the Reliability of Reliability Diagrams".
    """
    rng, images = np.random.default_rng(0), len(confidence)
    drawn = (confidence - (rng.random(images) < confidence) for _ in range(RESAMPLES))
    shares = np.stack([np.bincount(place, weights=away) for away in drawn]) / images
    errors, gaps = abs(shares).sum(axis=1), abs(shares.sum(axis=1))
    return {
        "error": float(errors.mean()),
        "error_95": float(np.quantile(errors, 0.95)),
        "gap_95": float(np.quantile(gaps, 0.95)),
    }


def bins_of(confidence: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin of every image by its rank; equal confidences share their mean rank, and so their bin."""
    count = max(min(BINS, len(confidence) // LEAST), 1)
    place = (rankdata(confidence) - 0.5) * count // len(confidence)
    return np.unique(place, return_inverse=True)[1]


def tell(
    validation: tuple[NDArray[np.float64], NDArray[np.int32]], test: tuple[NDArray[np.float64], NDArray[np.int32]]
) -> dict[str, Any]:
    """The temperature fitted on validation, and the test images before and after it: calibration error, bins, log loss.

    `limited`: it is an end of the temperatures that were tried, and so none that was found.
    """
    by = temperature(*validation)
    probabilities, labels = test
    told: dict[str, Any] = {"temperature": by, "limited": by in (COLDEST, HOTTEST)}
    for name, values in (("before", probabilities), ("after", tempered(probabilities, by))):
        own = cross_entropies(values, labels)
        told[name] = {**reliability(values, labels), "log_loss": float(own.mean())}
    return told
