"""Class and split of every image, as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kpipe.stage import StageError
from stages import json_files
from stages.data import manifest
from stages.data.manifest import Item


class Labels:
    """What ingest's artifact says of its images.

    `classes` are the names in sorted order, `index` int32 (N,) points into them, `items` is the manifest. With `fold`, all
    images but those of test train, and those of this fold validate. StageError where there is no such fold.
    """

    def __init__(self, ingest: Path, fold: int | None = None) -> None:
        self.classes: list[str] = json_files.read(ingest / "dataset.json")["classes"]
        items = manifest.read(ingest / "manifest.csv")
        self.items = items if fold is None else in_fold(items, fold)
        number = {name: i for i, name in enumerate(self.classes)}
        self.index = np.array([number[item.label] for item in self.items], np.int32)

    def rows(self, *splits: str) -> NDArray[np.int64]:
        """Rows of images.npy that belong to these splits, in manifest order; StageError where there are none."""
        rows = np.array([item.row for item in self.items if item.split in splits], np.int64)
        if not len(rows):
            raise StageError(f"there are no {' or '.join(splits)} images", hint="give stages.ingest more images or larger shares")
        return rows


def in_fold(items: Sequence[Item], fold: int) -> list[Item]:
    """The items with the splits that a fold means."""
    folds = max((item.fold for item in items), default=-1) + 1
    if not folds:
        raise StageError(f"fold = {fold}, and the images are in no folds", hint="stages.ingest.params.folds = 5")
    if fold >= folds:
        raise StageError(f"fold = {fold}: there are {folds}", hint=f"give one from 0 to {folds - 1}")
    places = {-1: "test", fold: "validation"}
    return [replace(item, split=places.get(item.fold, "train")) for item in items]


def sample(rows: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """At most `most` of the rows, drawn without replacement in a random order; the same for the same seed."""
    return np.random.default_rng([seed, len(rows)]).permutation(rows)[:most]
