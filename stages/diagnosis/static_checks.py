"""What can be said against a configuration before anything is trained, as findings without a measured effect."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stages.diagnosis.finding import Finding
from stages.pixels import Contract, apply

LEAKED = 0.01  # of a split's images: a larger share of copies changes its accuracy
TELLING = 0.3  # of the way from chance to certainty, that the interval of a property's balanced accuracy must lie above
VISIBLE = ("border colour", "mean brightness", "sharpness")  # properties that the objects themselves may have
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
    return [
        *copies_across_splits(audit["duplicates"], dataset["counts"]),
        *conflicting_copies(audit["duplicates"]),
        *spurious_cues(audit.get("cues", [])),
        *imbalanced(audit),
        *few_images("validation", dataset["counts"]["validation"]),
        *few_images("test", dataset["counts"]["test"]),
    ]


def copies_across_splits(duplicates: Mapping[str, Any], counts: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    """Copies of training images among those that measure make the measure too good; a note where they are few, and near ones."""
    near = duplicates.get("near", {})
    exact, nearly = duplicates["across_splits"], near.get("across_splits", 0)
    if not exact + nearly:
        return
    leaked = duplicates.get("leaked", {})
    shares = [number / sum(counts[split].values()) for split, number in leaked.items()]
    both = {"exact_copies": exact, "near_copies": nearly} if exact and nearly else {}
    yield Finding(
        "copies-across-splits" if exact else "near-copies-across-splits",
        "warning" if exact or max(shares, default=0.0) > LEAKED else "note",
        f"{'The same images' if exact else 'Near copies of images'} lie in more than one split",
        (f"Exact copies of images in another split{', and images encoded anew, resized or mirrored,' if nearly else ''} are "
         "recognised rather than classified.") if exact
        else "An image encoded anew, resized or mirrored is recognised rather than classified.",
        {"images": exact + nearly, **both, **{f"{split}_copies_of_training": number for split, number in leaked.items()},
         "first": " = ".join((duplicates if exact else near)["pairs"][0])},
        'stages.ingest.params.duplicates = "drop"' if any(leaked.values()) else None,
    )  # fmt: skip


def conflicting_copies(duplicates: Mapping[str, Any]) -> Iterator[Finding]:
    """One picture, two classes: one of the labels is wrong."""
    numbers = [duplicates.get("conflicting", 0), duplicates.get("near", {}).get("conflicting", 0)]
    if any(numbers):
        yield Finding(
            "conflicting-labels", "warning", "The same picture is in more than one class",
            "No network can be right on both; one of the labels is wrong.",
            {"exact_copies": numbers[0], "near_copies": numbers[1]},
        )  # fmt: skip


def spurious_cues(cues: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """What tells the class without the object. Colours and detail may be the object's own: for these only a note.

    The size of a file follows from the detail in the picture, so it is more than that only where it tells more than sharpness.
    """
    detail = max((cue["score"] for cue in cues if cue["property"] == "sharpness"), default=0.0)
    for cue in cues:
        chance, (low, high) = cue["chance"], cue["interval"]
        if (low - chance) / (1 - chance) < TELLING:
            continue
        name = cue["property"]
        visible = name in VISIBLE or ("file size" in name and low <= detail)
        yield Finding(
            "spurious-cue", "note" if visible else "warning", f"The {name} alone tells the class",
            "A network may learn this instead of the objects, unless it is what makes the classes." if visible
            else "The classes' files were made in different ways; a network may learn the traces of that instead of the objects.",
            {"property": name, "balanced_accuracy": cue["score"], "interval": [low, high], "chance": chance,
             "typical": ", ".join(f"{label}: {value}" for label, value in cue["typical"].items())},
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


def few_images(split: str, counts: Mapping[str, int]) -> Iterator[Finding]:
    """Too few to tell branches apart: half width of the 95% interval of an accuracy of 0.9 (normal approximation)."""
    total = sum(counts.values())
    half = 1.96 * math.sqrt(0.9 * 0.1 / total)
    if half > WIDEST_INTERVAL:
        yield Finding(
            f"few-{split}-images", "note", f"Few {split} images",
            f"With {total} {split} images an accuracy of 0.90 is known to about {half:.2f} on either side.",
            {f"{split}_images": total, "half_width": round(half, 4)},
        )  # fmt: skip
