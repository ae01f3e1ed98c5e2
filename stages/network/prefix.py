"""The frozen part of a network, and the images whose activations at its end are wanted."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage
from stages.augment import Recipe
from stages.data.rows import Rows
from stages.network import cut as cuts
from stages.network import graph
from stages.network.augmented import Augmented
from stages.network.feed import Array


@dataclass(frozen=True)
class Prefix:
    """A network up to a cut, the files with its weights and the images, and the type in which activations are stored."""

    network: keras.Model
    cut: Sequence[str]
    backbone: Path
    images: Path
    dtype: str
    below: Prefix | None = None  # the prefix from whose activations these are computed; None: from pixels

    @classmethod
    def of(cls, stage: Stage, network: keras.Model, cut: Sequence[str], dtype: str) -> Prefix:
        """The prefix that a stage which trains or evaluates reads from: where the head pools, up to behind the pooling.

        That is a few per cent of the bytes, and follows in seconds from what all heads share.
        """
        backbone, images = stage.inputs["build"] / "backbone.keras", stage.inputs["ingest"] / "images.npy"
        prefix = cls(network, list(cut), backbone, images, dtype)
        pooled = cuts.reduced(network, cut)
        return replace(prefix, cut=pooled, dtype="float32", below=prefix) if pooled else prefix

    @property
    def model(self) -> keras.Model:
        """From the pixels, or the activations of the prefix below, to the cut."""
        return graph.part(self.network, self.below.cut if self.below else [], self.cut)

    @property
    def tail(self) -> keras.Model:
        """From the cut to the network's output. Activations of another type are cast to its own as they enter."""
        return graph.part(self.network, self.cut, [])

    @property
    def bytes(self) -> int:
        """What one image takes."""
        values = sum(math.prod(tensor.shape[1:]) for tensor in graph.tensors(self.network, self.cut))
        return int(values * np.dtype(self.dtype).itemsize)

    @property
    def key(self) -> dict[str, Any]:
        """All that an image's activations follow from, its pixels apart."""
        if self.below:
            pooling = self.network.get_layer(self.cut[0]).get_config()
            return {**self.below.key, "pooling": json.loads(json.dumps(pooling))}
        computed_in = sorted({layer.compute_dtype for layer in self.model.layers})
        return {"weights": self.backbone, "cut": self.cut, "dtype": self.dtype, "computed_in": computed_in}


@dataclass(frozen=True)
class Images:
    """Rows of images.npy: as they are (view 0), or as a recipe changes them in its epochs 1, 2, ..., here called views."""

    file: Path
    rows: NDArray[np.int64]
    views: Sequence[int] = (0,)
    recipe: Recipe | None = None

    @classmethod
    def all(cls, file: Path) -> Images:
        """All of them, as they are."""
        return cls(file, np.arange(len(Rows.of(file))))

    @property
    def key(self) -> dict[str, Any]:
        """All that an image's pixels follow from."""
        recipe = self.recipe.to_json() if self.recipe else {}
        return {"images": self.file, **{name: recipe[name] for name in ("settings", "seed") if name in recipe}}

    def pixels(self, view: int) -> Array:
        """What a view shows."""
        return Augmented(Rows.of(self.file), self.recipe, view) if self.recipe else Rows.of(self.file)
