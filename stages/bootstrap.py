"""Bootstrap intervals of statistics of images, computed for many resamples at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # weights (B, N) of the images -> values (B,)

MOST, LEAST = 2000, 400  # resamples
WORK = 1 << 28  # weights times classes that are looked at; beyond, there are fewer resamples
BLOCK = 1 << 22  # weights at once
ROUNDING = 1e-12  # of a statistic: resamples that differ by no more have the same value
GROUPS = 200  # images are left out one by one up to so many, then in as many groups


def interval(
    statistic: Statistic, images: int, *, classes: int = 1, level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """The interval of a statistic over so many images; None where there is none (`bca`).

    `classes` tells how much work the statistic is, and so how many resamples can be afforded.
    Bias-corrected and accelerated (Efron 1987, "Better bootstrap confidence intervals"; acceleration by the jackknife).
    """
    count = affordable(images, classes)
    values = np.concatenate([statistic(weights) for weights in resamples(images, count, seed)])
    left_out = np.concatenate([statistic(weights) for weights in jackknife(images)])
    return bca(values, float(statistic(np.ones((1, images)))[0]), left_out, level)


def bca(
    values: NDArray[np.float64], found: float, left_out: NDArray[np.float64], level: float = 0.95
) -> tuple[float, float] | None:
    """The interval from a statistic's values on resamples (B,), on the images as they are, and with a group of them left out.

    None where it is not defined on most resamples, and where they cannot tell how far it would vary: all have the same value, as
    of a network without a mistake, or all lie on one side of the one found. An interval without width would claim certainty.
    """
    finite = values[np.isfinite(values)]
    if len(finite) < len(values) / 2 or not np.isfinite(found):
        return None
    below = ((finite < found).mean() + (finite <= found).mean()) / 2
    if not 0 < below < 1:
        return None
    bias, slope = ndtri(below), acceleration(left_out)
    ends = ndtri([(1 - level) / 2, (1 + level) / 2]) + bias
    low, high = np.quantile(finite, ndtr(bias + ends / (1 - slope * ends)))
    return (float(low), float(high)) if high - low > ROUNDING else None


def affordable(images: int, classes: int) -> int:
    """How many resamples."""
    return int(np.clip(WORK // (images * classes), LEAST, MOST))


def resamples(images: int, count: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each image is drawn, (B, N) at a time: `count` rows in all, the same for the same seed."""
    rng = np.random.default_rng([seed, images])
    rows = max(min(BLOCK // images, count), 1)
    for begin in range(0, count, rows):
        yield rng.multinomial(images, np.full(images, 1 / images), min(rows, count - begin)).astype(np.float64)


def jackknife(images: int) -> Iterator[NDArray[np.float64]]:
    """Weights (G, N) that leave out one group of the images each, some at a time."""
    count = min(images, GROUPS)
    groups = np.arange(images) % count
    rows = max(BLOCK // images, 1)
    for begin in range(0, count, rows):
        yield (groups != np.arange(begin, min(begin + rows, count))[:, None]).astype(np.float64)


def acceleration(left_out: NDArray[np.float64]) -> float:
    """Skewness of the jackknife's values, over six; 0 where none differs."""
    away = np.nanmean(left_out) - left_out
    spread = np.nansum(away**2) ** 1.5
    return float(np.nansum(away**3) / (6 * spread)) if spread > 0 else 0.0
