"""Bootstrap intervals of statistics of images, computed for many resamples at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # weights (B, N) of the images -> values (B,)

MOST, LEAST = 2000, 400  # resamples
WORK = 1 << 28  # weights times classes that are looked at; beyond, there are fewer resamples
BLOCK = 1 << 22  # weights at once
GROUPS = 200  # images are left out one by one up to so many, then in as many groups


def interval(
    statistic: Statistic, images: int, *, classes: int = 1, level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """The interval of a statistic over so many images; None where it is not defined on most resamples.

    `classes` tells how much work the statistic is, and so how many resamples can be afforded.
    Bias-corrected and accelerated (Efron 1987, "Better bootstrap confidence intervals"; acceleration by the jackknife).
    """
    count = int(np.clip(WORK // (images * classes), LEAST, MOST))
    values = np.concatenate([statistic(weights) for weights in resamples(images, count, seed)])
    values = values[np.isfinite(values)]
    found = statistic(np.ones((1, images)))[0]
    if len(values) < count / 2 or not np.isfinite(found):
        return None
    below = ((values < found).mean() + (values <= found).mean()) / 2
    if not 0 < below < 1:  # no resample differs
        return float(values.min()), float(values.max())
    bias, slope = norm.ppf(below), acceleration(statistic, images)
    ends = norm.ppf([(1 - level) / 2, (1 + level) / 2]) + bias
    low, high = np.quantile(values, norm.cdf(bias + ends / (1 - slope * ends)))
    return float(low), float(high)


def resamples(images: int, count: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each image is drawn, (B, N) at a time: `count` rows in all, the same for the same seed."""
    rng = np.random.default_rng([seed, images])
    rows = max(min(BLOCK // images, count), 1)
    for begin in range(0, count, rows):
        yield rng.multinomial(images, np.full(images, 1 / images), min(rows, count - begin)).astype(np.float64)


def acceleration(statistic: Statistic, images: int) -> float:
    """Skewness of the jackknife's values, over six; 0 where none differs."""
    groups = np.arange(images) % min(images, GROUPS)
    values = np.array([statistic((groups != group).astype(np.float64)[None])[0] for group in range(groups.max() + 1)])
    away = np.nanmean(values) - values
    spread = np.nansum(away**2) ** 1.5
    return float(np.nansum(away**3) / (6 * spread)) if spread > 0 else 0.0
