"""Rule: a network that another program trained is given other pixels than its first layers were made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis import moving_statistics
from stages.diagnosis.finding import Finding
from stages.diagnosis.foreign import Foreign
from stages.diagnosis.input_scale import (
    LOOKED_AT,
    NEAR,
    SERIOUS,
    TOLERANCE,
    Entry,
    Pixels,
    Sample,
    contract_distances,
    mismatch,
    pixels_given,
    remembered,
    wrong_scaling,
)
from stages.pixels import CONTRACTS, apply

PUBLISHED = "caffe"  # what the published ResNet50 and VGG16 were trained on
AS = {
    "caffe": "keras.applications.imagenet_utils.preprocess_input(x), from RGB pixels of 0..255",
    "unit": "keras.layers.Rescaling(1 / 255)(x), from RGB pixels of 0..255",
    "symmetric": "keras.layers.Rescaling(1 / 127.5, offset=-1)(x), from RGB pixels of 0..255",
    "torch": 'keras.applications.imagenet_utils.preprocess_input(x, mode="torch"), from RGB pixels of 0..255',
    "none": "RGB pixels of 0..255 as they are",
}


def find(network: Foreign, sample: Sample, images: NDArray[Any], accuracy: float) -> Finding | None:
    """The finding, or None where the pixels fit, or nothing tells what the first layers were made for. The network is given
    `images` for those of the sample, and has this `accuracy` on validation images.

    The first BatchNormalization remembers it. Where there is none, or it knows neither these pixels nor others, a network that
    begins as published ones do is taken for one; without a BatchNormalization only the probe tells whether that was right.
    """
    entry = network.entry
    if entry is None:
        return None
    given, some = pixels_given(entry, images[:LOOKED_AT]), sample.images[:LOOKED_AT]
    distances = contract_distances(entry, given, sample)
    made_for = remembered(distances)
    if made_for is None and network.pretrained and distances.get("", np.inf) > NEAR:
        made_for = PUBLISHED
    if made_for is None or lags(entry, given, distances):
        return None
    if mismatch(given, apply(CONTRACTS[made_for], some)) <= TOLERANCE:
        return None
    wanted = apply(CONTRACTS[made_for], sample.images)
    found = wrong_scaling(entry, pixels_given(entry, images), wanted, sample.labels, AS[made_for])
    if found.severity == "note" and found.effect and found.effect.with_fix - accuracy > SERIOUS:
        return replace(found, severity="warning", evidence={**found.evidence, "accuracy_of_the_network": accuracy})
    return None if entry.first is None and found.severity == "note" else found  # then only the probe knows


def lags(entry: Entry, given: Pixels, distances: Mapping[str, float]) -> bool:
    """Whether the first BatchNormalization learned in too few steps to follow what it is given, where that explains what it
    remembers as well as any other pixels do."""
    if entry.first is None or not entry.first[0].trainable or distances.get("", 0.0) <= NEAR:
        return False
    layer, below = entry.first
    behind = moving_statistics.behind(layer, moving_statistics.moments(below, given, len(given)))
    return behind <= min(distance for name, distance in distances.items() if name)
