"""How many test images, or seeds, would show a difference; and the smallest difference that those there are can show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrik, ndtri

from stages.reporting.two_level import TwoLevel, critical

POWER = 0.8
EXACT = 500  # images up to which powers are those of the exact test; beyond, the normal distribution does
MOST_IMAGES, MOST_SEEDS = 10_000_000, 1000  # beyond, nobody wants to know


def images_needed(difference: float, discordance: float, alpha: float = 0.05) -> int:
    """Test images with which the exact McNemar test shows a difference of two accuracies with power 0.8.

    `discordance` is the share of the images that one of the two alone gets right. Assumes that both stay as they are on more
    images. `difference` is not 0. Connor's number (1987), and up to EXACT images the first from there on that is enough.
    """
    images = math.ceil(connor(difference, discordance, alpha))
    while images <= EXACT and shown(difference, discordance, images, alpha) < POWER:
        images += 1
    return images


def connor(difference: float, discordance: float, alpha: float) -> float:
    """Images by Connor's formula (1987), with the normal distribution in the place of the exact one."""
    tested, reached = float(ndtri(1 - alpha / 2)), float(ndtri(POWER))
    root = tested * math.sqrt(discordance) + reached * math.sqrt(max(discordance - difference**2, 0))
    return (root / difference) ** 2


def smallest_difference(discordance: float, images: int, alpha: float = 0.05) -> float | None:
    """The difference that so many images show with power 0.8: `images_needed` solved for it; None where no difference is enough.

    A difference needs as much discordance: where there is less, so much is assumed.
    """

    def enough(difference: float) -> bool:
        least = max(difference, discordance)
        if images <= EXACT:
            return shown(difference, least, images, alpha) >= POWER
        return images >= connor(difference, least, alpha)

    found = _first(enough)
    return found if found < 1 or shown(1.0, 1.0, images, alpha) >= POWER else None


def shown(difference: float, discordance: float, images: int, alpha: float = 0.05) -> float:
    """The power of the exact McNemar test: how often it shows a difference of two accuracies on so many images.

    The discordant images are binomial of all images, and those that the better network alone gets right are binomial of them.
    """
    counts = np.arange(images + 1)  # of discordant images
    better = min((1 + abs(difference) / discordance) / 2, 1.0)
    lesser = _lesser_parts(images, alpha)
    rejected = np.where(lesser >= 0, bdtr(lesser, counts, better) + bdtr(lesser, counts, 1 - better), 0.0)
    return float(np.diff(bdtr(counts, images, discordance), prepend=0.0) @ rejected)


@cache
def _lesser_parts(images: int, alpha: float) -> NDArray[np.float64]:
    """For 0 to so many discordant images, the most that the worse network may get right alone for p below alpha; -1: none."""
    counts = np.arange(images + 1)
    lesser = np.floor(np.nan_to_num(bdtrik(alpha / 2, counts, 0.5), nan=-1.0))
    return np.asarray(lesser - (2 * bdtr(lesser, counts, 0.5) >= alpha))


def _first(holds: Callable[[float], bool]) -> float:
    """Where in 0 to 1 a condition begins to hold; 1 where it does not."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def smallest_over_seeds(model: TwoLevel, alpha: float = 0.05) -> float:
    """The difference that so many seeds and images show with power 0.8, its variance taken for the true one."""
    return (model.critical(alpha / 2) + model.critical(1 - POWER)) * math.sqrt(model.variance)


def more_images(model: TwoLevel, alpha: float = 0.05) -> int | None:
    """Test images with which so many seeds show their difference with power 0.8; None where no number of images is enough."""
    return _fewest(lambda images: shows(model, model.seeds, images, alpha), model.images, MOST_IMAGES)


def more_seeds(model: TwoLevel, alpha: float = 0.05) -> int | None:
    """Seeds with which so many test images show their difference with power 0.8; None where no number of seeds is enough."""
    return _fewest(lambda seeds: shows(model, seeds, model.images, alpha), model.seeds, MOST_SEEDS)


def shows(model: TwoLevel, seeds: int, images: int, alpha: float = 0.05) -> bool:
    """Whether the model's difference would be shown with power 0.8, its components of variance taken for the true ones."""
    expected = replace(model, seeds=seeds, images=images, seed_mean_square=images * model.of_seed + model.of_rest)
    needed = expected.critical(alpha / 2) + critical(1 - POWER, expected.seed_share, seeds)
    return abs(model.mean) >= needed * math.sqrt(expected.variance)


def _fewest(enough: Callable[[int], bool], least: int, most: int) -> int | None:
    """The least whole number from `least` on that is enough, by bisection."""
    if not enough(most):
        return None
    low, high = least - 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
