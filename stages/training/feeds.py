"""What the network is given in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from kpipe.stage import Stage
from stages import json_files
from stages.augment import recipe_from_json
from stages.network import activations as prefix
from stages.network.feed import Feed
from stages.training.batches import AugmentedFeed


@dataclass(frozen=True)
class Feeds:
    """Plain images by the shortest way there is, and what training and validation see."""

    plain: Feed
    training: Feed
    validation: Feed

    @classmethod
    def prepare(cls, stage: Stage, network: keras.Model, cut: Sequence[str]) -> Feeds:
        """Stored activations at the cut; where images are augmented anew in every epoch, the pixels and the whole network."""
        images = stage.inputs["ingest"] / "images.npy"
        recipe = recipe_from_json(json_files.read(stage.inputs["preprocess"] / "augment.json"))
        plain = prefix.feed(stage, network, cut, backbone=stage.inputs["build"] / "backbone.keras", images=images)
        if not recipe.changes:
            return cls(plain, plain, plain)
        augmented = AugmentedFeed(network, (np.load(images, mmap_mode="r"),), recipe)
        return cls(plain, augmented, augmented if recipe.validation else plain)
