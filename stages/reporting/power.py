"""How many test images, or seeds, would show a difference; and the smallest difference that those there are can show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from scipy.special import ndtri

from stages.reporting.two_level import TwoLevel, critical

POWER = 0.8
MOST_IMAGES, MOST_SEEDS = 10_000_000, 1000  # beyond, nobody wants to know


def images_needed(difference: float, discordance: float, alpha: float = 0.05) -> int:
    """Test images with which McNemar's test shows a difference of two accuracies with power 0.8 (Connor 1987).

    `discordance` is the share of the images that one of the two alone gets right. Assumes that both stay as they are on more
    images. `difference` is not 0.
    """
    tested, reached = float(ndtri(1 - alpha / 2)), float(ndtri(POWER))
    root = tested * math.sqrt(discordance) + reached * math.sqrt(max(discordance - difference**2, 0))
    return math.ceil((root / difference) ** 2)


def smallest_difference(discordance: float, images: int, alpha: float = 0.05) -> float:
    """The difference that so many images show with power 0.8: `images_needed` solved for it.

    A difference needs as much discordance: where there is less, so much is assumed. 1 where no difference can be shown.
    """
    tested, reached = float(ndtri(1 - alpha / 2)), float(ndtri(POWER))
    root = tested * math.sqrt(discordance)  # images * d**2 = (root + reached * sqrt(discordance - d**2))**2, a quadratic of d
    a, b, c = images + reached**2, root * math.sqrt(images), root**2 - reached**2 * discordance
    found = (b + math.sqrt(max(b * b - a * c, 0))) / a
    if found >= discordance:  # images * d = (tested + reached * sqrt(1 - d))**2
        found = _first(lambda d: images * d >= (tested + reached * math.sqrt(1 - d)) ** 2)
    return min(found, 1.0)


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
