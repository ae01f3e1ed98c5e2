"""Images as they are augmented on their way into a network, in every epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage
from stages import json_files
from stages.augment import Recipe, augment, recipe_from_json
from stages.data.rows import Rows
from stages.network.feed import Feed


def recipe_of(stage: Stage) -> Recipe:
    """What preprocess wrote of the augmentation."""
    return recipe_from_json(json_files.read(stage.inputs["preprocess"] / "augment.json"))


@dataclass(frozen=True)
class Augmented:
    """An array of images as a recipe changes them in an epoch (counted from 1)."""

    images: Rows
    recipe: Recipe
    epoch: int

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return augment(self.images[rows], rows, self.epoch, self.recipe)


@dataclass(frozen=True)
class ByEpoch(Feed):
    """A feed whose arrays are those of the epoch."""

    arrays_of: Callable[[int], tuple[Any, ...]]

    def at(self, epoch: int) -> ByEpoch:
        """The same feed in another epoch."""
        return replace(self, arrays=self.arrays_of(epoch))
