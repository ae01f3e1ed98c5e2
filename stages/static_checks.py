"""What can be said against a configuration before anything is trained, as findings without a measured effect."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stages.augment import Recipe, draw, matrix, places
from stages.diagnosis.finding import Finding
from stages.pixels import Contract

DRAWS = 200
LEAST_INSIDE = 0.5  # below half a picture, what is left of most images is a smeared border
MOST_IMBALANCE = 3.0
WIDEST_INTERVAL = 0.05  # half width at an accuracy of 0.9: two models 5 points apart could not be told apart


def of_pixels(scaling: str, network: str, applied: Contract, wanted: Contract) -> Iterator[Finding]:
    """Other pixels than the published weights were trained on. What that costs is measured where the weights are known."""
    if applied != wanted:
        yield Finding(
            "scaling-choice", "note", f"{network} is given other pixels than its published weights expect",
            f'scaling = "{scaling}" replaces the pixel contract of the published {network} weights.',
            {"given": value_range(applied), "expected": value_range(wanted), "channels_given": applied.channel_order,
             "channels_expected": wanted.channel_order},
            'stages.preprocess.params.scaling = "model"',
        )  # fmt: skip


def value_range(contract: Contract) -> list[float]:
    """Smallest and largest value that pixels of 0..255 become."""
    return [round(min(contract.offset), 3), round(255 * contract.scale + max(contract.offset), 3)]


def of_recipe(recipe: Recipe, image_size: Sequence[int]) -> list[Finding]:
    """What the augmentation does that it should not."""
    return [*validation_augmented(recipe), *pictures_lost(recipe, image_size)]


def validation_augmented(recipe: Recipe) -> Iterator[Finding]:
    """Validation on changed images measures another task than the one the model is for."""
    if recipe.validation and recipe.changes:
        yield Finding(
            "validation-augmented", "warning", "Validation images are augmented",
            "augment_validation = true changes validation images at random, so their accuracy is not that of real images.",
            {"recipe": recipe.name}, "stages.preprocess.params.augment_validation = false",
        )  # fmt: skip


def pictures_lost(recipe: Recipe, image_size: Sequence[int]) -> Iterator[Finding]:
    """How much of the result shows the picture rather than its repeated border, over DRAWS random draws."""
    shares = [inside(recipe, row, image_size[0], image_size[1]) for row in range(DRAWS)] if recipe.bends else [1.0]
    if float(np.median(shares)) < LEAST_INSIDE:
        yield Finding(
            "augmentation-extreme", "warning", "Augmentation leaves little of the pictures",
            f'Half of the images augmented by "{recipe.name}" show the picture on less than {100 * np.median(shares):.1f} % of '
            "their area; the rest is its border, repeated.",
            {"median_share_of_picture": round(float(np.median(shares)), 4), "zoom_factors": [1 - recipe.zoom, 1 + recipe.zoom]},
            'stages.preprocess.params.augment = "light"',
        )  # fmt: skip


def inside(recipe: Recipe, row: int, height: int, width: int) -> float:
    """Share of the result's pixels that show a place within the picture."""
    y, x = places(matrix(draw(recipe, 0, row), height, width), height, width)
    return float(np.mean((y >= -0.5) & (y <= height - 0.5) & (x >= -0.5) & (x <= width - 0.5)))


def of_data(dataset: Mapping[str, Any], audit: Mapping[str, Any]) -> list[Finding]:
    """What in the data makes its measures say less than they seem to."""
    return [*copies_across_splits(audit["duplicates"]), *imbalanced(audit), *few_test_images(dataset["counts"]["test"])]


def copies_across_splits(duplicates: Mapping[str, Any]) -> Iterator[Finding]:
    """Copies of training images among those that measure make the measure too good."""
    if duplicates["across_splits"]:
        yield Finding(
            "copies-across-splits", "warning", "The same images lie in more than one split",
            "Exact copies of images in another split are recognised rather than classified.",
            {"images": duplicates["across_splits"], "first": " = ".join(duplicates["pairs"][0])},
        )  # fmt: skip


def imbalanced(audit: Mapping[str, Any]) -> Iterator[Finding]:
    """With unequal classes, accuracy alone says little."""
    if audit["imbalance"] > MOST_IMBALANCE:
        counts = audit["counts"]["train"]
        yield Finding(
            "imbalanced-classes", "note", "Classes differ much in size",
            f"The largest class has {audit['imbalance']:.1f} times the training images of the smallest; read macro F1 too.",
            {"largest": max(counts, key=counts.get), "smallest": min(counts, key=counts.get), "ratio": audit["imbalance"]},
        )  # fmt: skip


def few_test_images(counts: Mapping[str, int]) -> Iterator[Finding]:
    """Half width of the 95% interval of an accuracy of 0.9 (normal approximation)."""
    total = sum(counts.values())
    half = 1.96 * math.sqrt(0.9 * 0.1 / total)
    if half > WIDEST_INTERVAL:
        yield Finding(
            "few-test-images", "note", "Few test images",
            f"With {total} test images an accuracy of 0.90 is known to about {half:.2f} on either side.",
            {"test_images": total, "half_width": round(half, 4)},
        )  # fmt: skip
