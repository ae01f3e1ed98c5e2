"""What the network is given in training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import keras

from kpipe.stage import Stage
from stages.augment import Recipe
from stages.data.labels import Labels
from stages.data.rows import Rows
from stages.network import activations
from stages.network.augmented import Augmented, ByEpoch, recipe_of
from stages.network.feed import Array, Feed
from stages.network.prefix import Images, Prefix

ByView = Mapping[int, tuple[Array, ...]]


@dataclass(frozen=True)
class Feeds:
    """Plain images by the shortest way there is, and what training and validation see."""

    plain: Feed
    training: Feed
    validation: Feed
    stored_bytes: int  # of all activations that they are taken from

    @classmethod
    def prepare(
        cls, stage: Stage, network: keras.Model, cut: Sequence[str], labels: Labels, *, dtype: str, views: int, epochs: range
    ) -> Feeds:
        """Stored activations at the cut, of the images and of their views in these epochs where they are augmented.

        With no cut, and for images that are augmented anew in every epoch (`views` = 0): pixels, and the whole network.
        """
        prefix = Prefix.of(stage, network, cut, dtype)
        recipe = recipe_of(stage)
        stored: ByView = {}
        if recipe.changes and views and cut:
            stored = stored_views(stage, prefix, recipe, labels, {view(epoch, views) for epoch in epochs})
        plain = activations.feed(stage, prefix)
        held = [array for arrays in (*stored.values(), plain.arrays if cut else ()) for array in arrays]
        size = sum(array.nbytes for array in held if isinstance(array, Rows))
        if not recipe.changes:
            return cls(plain, plain, plain, size)
        arrays = partial(arrays_of, Rows.of(prefix.images), recipe, stored, views)
        augmented = ByEpoch(plain.model if stored else network, arrays(epochs[0]), arrays)
        return cls(plain, augmented, augmented if recipe.validation else plain, size)


def view(epoch: int, views: int) -> int:
    """Which of so many views an epoch shows, from 1: what fresh augmentation shows in the first epochs, again and again."""
    return (epoch - 1) % views + 1 if views else epoch


def stored_views(stage: Stage, prefix: Prefix, recipe: Recipe, labels: Labels, views: Collection[int]) -> ByView:
    """The activations of these views of all images that are augmented."""
    rows = labels.rows("train", "validation") if recipe.validation else labels.rows("train")
    images = Images(prefix.images, rows, sorted(views), recipe)
    return activations.stored(stage, prefix, images, later=Images.all(prefix.images))


def arrays_of(pixels: Rows, recipe: Recipe, stored: ByView, views: int, epoch: int) -> tuple[Array, ...]:
    """What an epoch shows. The finder's, which is none, may see any of the stored views."""
    number = view(epoch, views)
    if stored:
        return stored.get(number) or stored[min(stored)]
    return (Augmented(pixels, recipe, number),)
