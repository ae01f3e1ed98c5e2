"""Class and split of every image, as numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kpipe.stage import StageError
from stages import json_files
from stages.data import manifest


class Labels:
    """What ingest's artifact says of its images.

    `classes` are the names in sorted order, `index` int32 (N,) points into them, `items` is the manifest.
    """

    def __init__(self, ingest: Path) -> None:
        self.classes: list[str] = json_files.read(ingest / "dataset.json")["classes"]
        self.items = manifest.read(ingest / "manifest.csv")
        number = {name: i for i, name in enumerate(self.classes)}
        self.index = np.array([number[item.label] for item in self.items], np.int32)

    def rows(self, *splits: str) -> NDArray[np.int64]:
        """Rows of images.npy that belong to these splits, in manifest order; StageError where there are none."""
        rows = np.array([item.row for item in self.items if item.split in splits], np.int64)
        if not len(rows):
            raise StageError(f"there are no {' or '.join(splits)} images", hint="give stages.ingest more images or larger shares")
        return rows


def sample(rows: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """At most `most` of the rows, drawn without replacement in a random order; the same for the same seed."""
    return np.random.default_rng([seed, len(rows)]).permutation(rows)[:most]
