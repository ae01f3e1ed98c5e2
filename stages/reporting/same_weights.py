"""A saved model on both backends: how far what it says there of the same test images is apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import json_files
from stages.reporting.results import BACKENDS, Result
from stages.reporting.wording import listing, plural, tiny

TOLERANCE = 1e-4  # of a probability: what float32 sums in another order may come to in a deep network
TF32 = "GPUs may round factors to TF32, three digits: NVIDIA_TF32_OVERRIDE=0 in the environment compares without."
WORST = 5  # images that are named


@dataclass(frozen=True)
class Agreement:
    """One branch's saved model on two backends: float32 (images, classes) probabilities of each, `rows` of the manifest."""

    result: Result
    rows: NDArray[np.int64]
    first: NDArray[np.float32]
    second: NDArray[np.float32]
    devices: tuple[str, str]
    of: int  # test images; those beyond the sample were not looked at

    @property
    def images(self) -> int:
        return len(self.rows)

    @property
    def differences(self) -> NDArray[np.float64]:
        """(images, classes) distances of the probabilities."""
        return np.abs(self.first.astype(np.float64) - self.second.astype(np.float64))

    @property
    def largest(self) -> float:
        return float(self.differences.max())

    @property
    def mean(self) -> float:
        return float(self.differences.mean())

    def quantile(self, share: float) -> float:
        """What the largest difference of an image stays below for this share of the images."""
        return float(np.quantile(self.differences.max(axis=1), share))

    @property
    def renamed(self) -> int:
        """Images that are given another class."""
        return int((self.first.argmax(axis=1) != self.second.argmax(axis=1)).sum())

    @property
    def equal(self) -> bool:
        """Whether the backends compute the same, but for rounding."""
        return self.largest <= TOLERANCE

    @property
    def worst(self) -> list[dict[str, Any]]:
        """The images that differ most: path, label, difference, and on each backend the class and its probability."""
        classes = self.result.metrics["classes"]
        differences = self.differences.max(axis=1)
        told = []
        for place in np.argsort(-differences, kind="stable")[:WORST]:
            image = self.result.manifest.loc[str(self.rows[place])]
            says = [(classes[int(p[place].argmax())], float(p[place].max())) for p in (self.first, self.second)]
            told.append({"path": image["path"], "label": image["label"], "difference": float(differences[place]), "says": says})
        return told


def agreement(result: Result) -> Agreement | None:
    """What a branch's saved model says on both backends, where that was asked for."""
    folders = [result.branch.inputs.get(f"model on {backend}") for backend in BACKENDS]
    if None in folders:
        return None
    first, second = (np.load(folder / "predictions.npz") for folder in folders if folder)
    about = [json_files.read(folder / "about.json") for folder in folders if folder]
    devices = about[0]["device"], about[1]["device"]
    return Agreement(result, first["rows"], first["probabilities"], second["probabilities"], devices, about[0]["images"])


def agreements(results: list[Result]) -> list[Agreement]:
    """Those of all branches."""
    return [found for result in results if (found := agreement(result))]


def columns(result: Result) -> dict[str, Any]:
    """For the table of all branches; nothing where it was not asked for."""
    found = agreement(result)
    if found is None:
        return {}
    return {
        "same_weights_images": found.images,
        "same_weights_largest_difference": found.largest,
        "same_weights_mean_difference": found.mean,
        "same_weights_named_differently": found.renamed,
    }


def verdict(found: list[Agreement]) -> str:
    """Whether the backends compute the same, in a sentence."""
    apart = [one for one in found if not one.equal]
    if apart:
        told = listing([f"branch {one.result.number} ({tiny(one.largest)})" for one in apart])
        says = f"More than rounding: probabilities differ by more than {TOLERANCE:g} in {told}."
        on_gpu = any(not device.startswith("cpu") for one in apart for device in one.devices)
        return f"{says} {TF32}" if on_gpu else says
    largest, renamed = max(one.largest for one in found), sum(one.renamed for one in found)
    named = "every image is given the same class" if not renamed else f"{plural(renamed, 'near tie')} went the other way"
    return f"But for rounding, both backends compute the same: no probability differs by more than {tiny(largest)}, and {named}."
