"""A data set on its way in: images and where they come from, before splits are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.data.manifest import Item
from stages.data.splits import listed


@dataclass(frozen=True)
class DataSet:
    """What a source holds. The pixels of an item, uint8 (H, W, 3), come from `pixels`, one picture at a time."""

    name: str
    source: str  # what the pipeline file names: a sample, a folder, an archive, a table
    classes: Sequence[str]  # sorted
    items: Sequence[Item]  # split "" where one is to be drawn
    pixels: Callable[[Item], NDArray[np.uint8]]
    given: Sequence[str] = ()  # splits that the source gives
    skipped: Sequence[tuple[str, str]] = ()  # path, reason: bad images
    others: Sequence[str] = ()  # paths of files that neither are nor claim to be images
    ignored: int = 0  # hidden and system entries

    def bad(self, verb: str) -> str:
        """How many images were skipped, and the reasons of the first: "3 of 23 images `verb`: a.jpg (truncated), ..."."""
        first = listed([f"{path} ({reason})" for path, reason in self.skipped], most=3)
        return f"{len(self.skipped)} of {len(self.items) + len(self.skipped)} images {verb}: {first}"
