"""What can be said against a configuration before anything is trained, as findings without a measured effect."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from stages.diagnosis.finding import Finding
from stages.pixels import Contract, apply

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
    ends = apply(contract, np.array([[0, 0, 0], [255, 255, 255]], np.uint8))
    return [round(float(ends.min()), 3), round(float(ends.max()), 3)]


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
