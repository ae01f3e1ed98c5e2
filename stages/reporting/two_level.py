"""A mean over seeds and images: what either contributes to its variance, its interval and its test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

SMALLEST = 1e-15  # of one tail
ROUNDING = 1e-12  # of mean squares, by which equal ones may differ


@dataclass(frozen=True)
class TwoLevel:
    """The mean of a number that every training has for every image, and its three components of variance.

    Both the seeds and the images are a sample: x = mean + seed + image + rest. The components are those of the analysis of
    variance of a crossed random design (Searle, Casella & McCulloch 1992, chapter 4); `seed_mean_square` is that of the seeds.
    Only what the seed decides is varied, so that this is the lower bound of what another training could give (Bouthillier et
    al. 2021, "Accounting for variance in machine learning benchmarks").
    """

    mean: float
    seeds: int
    images: int
    of_seed: float
    of_image: float
    of_rest: float
    seed_mean_square: float

    @property
    def between_seeds(self) -> float:
        """Standard deviation of a training's mean between seeds, on as many images as one likes."""
        return math.sqrt(self.of_seed)

    @property
    def between_tests(self) -> float:
        """Standard deviation of one training's mean between test sets of this size."""
        return math.sqrt((self.of_image + self.of_rest) / self.images)

    @property
    def variance(self) -> float:
        """Variance of the mean."""
        return self.seed_mean_square / (self.seeds * self.images) + self.of_image / self.images

    @property
    def seed_share(self) -> float:
        """The share of that variance that was estimated from no more than the seeds."""
        return self.seed_mean_square / (self.seeds * self.images) / self.variance if self.variance else 0.0

    def critical(self, tail: float) -> float:
        return critical(tail, self.seed_share, self.seeds)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval of the mean; of no width where all values are equal."""
        half = self.critical((1 - level) / 2) * math.sqrt(self.variance)
        return self.mean - half, self.mean + half

    def share_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval of a mean of 0 and 1: Wilson (1927), with the images that such a variance is worth (Korn & Graubard 1998).

        Where all values are equal, that is the number of images.
        """
        worth = self.mean * (1 - self.mean) / self.variance if self.variance else self.images
        square = self.critical((1 - level) / 2) ** 2
        centre = (self.mean + square / (2 * worth)) / (1 + square / worth)
        half = math.sqrt(square * (self.mean * (1 - self.mean) / worth + square / (4 * worth**2))) / (1 + square / worth)
        return max(0.0, centre - half), min(1.0, centre + half)

    @property
    def p(self) -> float:
        """Two-sided p of a mean of 0: below 0.05 just where the interval leaves out 0."""
        if not self.variance or not self.mean:
            return 1.0
        reached = abs(self.mean) / math.sqrt(self.variance)
        if reached >= self.critical(SMALLEST):
            return 2 * SMALLEST
        return 2 * math.exp(brentq(lambda tail: self.critical(math.exp(tail)) - reached, math.log(SMALLEST), math.log(0.5)))


def critical(tail: float, seed_share: float, seeds: int) -> float:
    """How many standard errors leave out so much at one end.

    Student's for the seeds' part of the variance and the normal distribution's for the images', combined by the first term of
    Welch's series (1947), in which the share counts squared; scaled, so that it is exactly Student's where the share is 1.
    """
    normal, student = ndtri(tail) ** 2, stdtrit(seeds - 1, tail) ** 2
    return math.sqrt(normal + (student - normal) * seed_share**2)


def two_level(values: NDArray[np.float64]) -> TwoLevel:
    """The model of (S, N) values, at least two of either."""
    seeds, images = values.shape
    mean = values.mean()
    by_seed, by_image = values.mean(axis=1) - mean, values.mean(axis=0) - mean
    of_seeds = images * (by_seed**2).sum() / (seeds - 1)
    of_images = seeds * (by_image**2).sum() / max(images - 1, 1)
    rest = ((values - mean - by_seed[:, None] - by_image) ** 2).sum() / ((seeds - 1) * max(images - 1, 1))
    return TwoLevel(
        mean=float(mean),
        seeds=seeds,
        images=images,
        of_seed=component(of_seeds, rest, images),
        of_image=component(of_images, rest, seeds),
        of_rest=float(rest),
        seed_mean_square=float(of_seeds),
    )


def component(mean_square: float, rest: float, count: int) -> float:
    """A component of variance from its mean square, that of the rest, and how many values each of its means has; 0 at least."""
    surplus = float(mean_square - rest)
    return surplus / count if surplus > ROUNDING * mean_square else 0.0
