"""Rule: the pixels that enter the first convolution are not those that the weights were trained on.

Measured on what comes out of the pixel contract inside the model, and on the first BatchNormalization where there is one:
it remembers, in its moving statistics, what the weights saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from stages.diagnosis import moving_statistics, probe
from stages.diagnosis.finding import Effect, Finding
from stages.network.feed import Feed
from stages.pixels import CONTRACTS, Contract, apply

LOOKED_AT = 64  # images for the statistics
TOLERANCE = 0.05  # of a standard deviation, or of its logarithm
NEAR = 0.1  # nats between what the first BatchNormalization would see and what it remembers: these are the pixels it knows
CLEAR = 0.5  # times the distance of the next contract: unlike pictures are far from what it remembers, but in the same order
SERIOUS = 0.1  # accuracy that the mistake costs
NOISE = 0.04  # two standard errors of what two probes differ by
SETTINGS = {"caffe": "model"}  # what weights_scaling calls a contract, where it has another name
FIX = 'stages.preprocess.params.scaling = "model"'

Pixels = NDArray[np.float32]  # (N, H, W, 3): what the first layer is given


@dataclass(frozen=True)
class Sample:
    """Training images, uint8 (N, H, W, 3), and their class indices (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class Entry:
    """A network cut where its first convolution takes the pixels."""

    name: str
    given: keras.Model  # images -> pixels
    body: keras.Model  # pixels -> feature map
    first: tuple[keras.layers.BatchNormalization, keras.Model] | None  # the first such layer; pixels -> what enters it

    @classmethod
    def of(cls, backbone: keras.Model) -> Entry:
        """Of a backbone as build makes it."""
        pixels = backbone.get_layer("pixels").output
        layer = next((layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)), None)
        first = (layer, keras.Model(pixels, layer.input)) if layer else None
        return cls(backbone.name, keras.Model(backbone.input, pixels), keras.Model(pixels, backbone.output), first)


def find(entry: Entry, sample: Sample, expected: Contract) -> Finding | None:
    """The finding, or None where the pixels fit. `expected` is what the weights were trained on, as far as one was told."""
    some = sample.images[:LOOKED_AT]
    if mismatch(pixels_given(entry, some), apply(expected, some)) > TOLERANCE:
        return wrong_scaling(entry, pixels_given(entry, sample.images), apply(expected, sample.images), sample.labels, FIX)
    return wrong_weights_scaling(entry, expected, sample)


def wrong_scaling(entry: Entry, measured: Pixels, wanted: Pixels, labels: NDArray[np.int32], fix: str) -> Finding:
    """The pixels are not those that the weights were trained on."""
    low, high = value_range(measured)
    low_wanted, high_wanted = value_range(wanted)
    effect = counterfactual(entry, measured, wanted, labels)
    return Finding(
        rule="input-scale",
        severity=severity(effect),
        title=f"{entry.name} is given pixels that its weights never saw",
        cause=f"The first convolution is given values of {low:.4g}..{high:.4g}; "
        f"these weights were trained on {low_wanted:.4g}..{high_wanted:.4g} for the same images.",
        evidence={
            "range": [low, high],
            "range_expected": [low_wanted, high_wanted],
            "channel_means": channel_means(measured),
            "channel_means_expected": channel_means(wanted),
            **first_batchnorm(entry, measured[:LOOKED_AT], wanted[:LOOKED_AT]),
        },
        fix=fix,
        effect=effect,
    )


def wrong_weights_scaling(entry: Entry, expected: Contract, sample: Sample) -> Finding | None:
    """The pixels are as `weights_scaling` says, but the first BatchNormalization remembers those of another contract."""
    some = sample.images[:LOOKED_AT]
    given = apply(expected, some)
    distances = contract_distances(entry, given, sample)
    nearest = remembered(distances)
    if nearest is None or mismatch(given, apply(CONTRACTS[nearest], some)) <= TOLERANCE:
        return None
    effect = counterfactual(entry, apply(expected, sample.images), apply(CONTRACTS[nearest], sample.images), sample.labels)
    return Finding(
        rule="input-scale",
        severity=severity(effect),
        title=f"The weights of {entry.name} were trained on other pixels than weights_scaling says",
        cause="The moving statistics of the first BatchNormalization do not describe what it is given, "
        f'but would for pixels scaled as "{nearest}".',
        evidence={f"distance_{name}_nats" if name else "distance_nats": distance for name, distance in distances.items()},
        fix=f'stages.build.params.weights_scaling = "{SETTINGS.get(nearest, nearest)}"',
        effect=effect,
        confidence=0.8,
    )


def contract_distances(entry: Entry, given: Pixels, sample: Sample) -> dict[str, float]:
    """What enters the first BatchNormalization, in nats from what it remembers: "" as `given`, and for each contract.

    Empty where there is no such layer.
    """
    here = batchnorm_distance(entry, given)
    if here is None:
        return {}
    others = {name: apply(contract, sample.images[:LOOKED_AT]) for name, contract in CONTRACTS.items()}
    return {"": here, **{name: batchnorm_distance(entry, pixels) or 0.0 for name, pixels in others.items()}}


def remembered(distances: dict[str, float]) -> str | None:
    """The contract whose pixels the first BatchNormalization remembers; None where it is none of those that are known.

    It may remember what it is given as well: then the two differ in what its statistics do not show, as the channels' order.
    Where it knows what it is given clearly better than the pixels of any contract, it was made for that.
    """
    if not distances:
        return None
    first, second = sorted((name for name in distances if name), key=distances.__getitem__)[:2]
    if distances[""] <= NEAR and distances[""] < CLEAR * distances[first]:
        return None
    alike = distances[first] <= distances[""] + NEAR
    return first if alike and (distances[first] <= NEAR or distances[first] < CLEAR * distances[second]) else None


def counterfactual(entry: Entry, given: Pixels, wanted: Pixels, labels: NDArray[np.int32]) -> Effect:
    """A probe fitted and judged on the pixels as they are, and another one on the pixels as they should be."""
    pooled = probe.pooled(entry.body)
    as_configured, with_fix = (probe.accuracy(probe.features(pooled, pixels), labels) for pixels in (given, wanted))
    return Effect(as_configured, with_fix, probe.measure(len(labels)))


def severity(effect: Effect) -> Literal["error", "warning", "note"]:
    """By what the mistake costs."""
    cost = effect.with_fix - effect.as_configured
    return "error" if cost > SERIOUS else "warning" if cost > NOISE else "note"


def pixels_given(entry: Entry, images: NDArray[Any]) -> Pixels:
    """What the first convolution is given for the images."""
    images = images.astype(entry.given.inputs[0].dtype, copy=False)
    return Feed(entry.given, (images,)).predict(np.arange(len(images)))


def mismatch(measured: Pixels, wanted: Pixels) -> float:
    """The largest difference of a channel's mean, in standard deviations, or of a standard deviation's logarithm."""
    axes = (0, 1, 2)
    measured, wanted = measured.astype(np.float64), wanted.astype(np.float64)  # a network may compute in 16 bits
    spread, spread_wanted = measured.std(axes) + 1e-6, wanted.std(axes) + 1e-6
    shift = np.abs(measured.mean(axes) - wanted.mean(axes)) / spread_wanted
    return float(max(shift.max(), np.abs(np.log(spread / spread_wanted)).max()))


def value_range(pixels: Pixels) -> list[float]:
    """Smallest and largest value."""
    return [float(pixels.min()), float(pixels.max())]


def channel_means(pixels: Pixels) -> list[float]:
    """Mean of each channel, in the order in which the network sees them."""
    return [float(mean) for mean in pixels.mean((0, 1, 2), dtype=np.float64)]


def first_batchnorm(entry: Entry, measured: Pixels, wanted: Pixels) -> dict[str, float]:
    """The distances of the first BatchNormalization's input to its moving statistics, in nats; empty where there is none."""
    given, expected = batchnorm_distance(entry, measured), batchnorm_distance(entry, wanted)
    return {} if given is None or expected is None else {"distance_nats": given, "distance_expected_nats": expected}


def batchnorm_distance(entry: Entry, pixels: Pixels) -> float | None:
    """How far what enters the first BatchNormalization is from its moving statistics, in nats, or None where there are none."""
    if entry.first is None or moving_statistics.untouched(entry.first[0]):
        return None
    layer, below = entry.first
    return moving_statistics.divergence(layer, *moving_statistics.moments(below, pixels, len(pixels)))
