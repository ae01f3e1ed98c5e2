"""A network that another program trained, with the pixels that the program gave it: what is measured on both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage, StageError
from stages.diagnosis import batchnorm_gap, foreign_scale, leakage, scaled_before, units
from stages.diagnosis.finding import Finding
from stages.diagnosis.folder import Folder
from stages.diagnosis.foreign import Foreign, as_probabilities, probabilities
from stages.diagnosis.input_scale import Sample
from stages.diagnosis.seen import Seen, Split
from stages.network import batchnorm
from stages.network.feed import Feed
from stages.network.scores import loss_and_accuracy
from stages.pixels import apply

BATCH = 32  # images whose statistics BatchNormalization takes together


@dataclass(frozen=True)
class Patient:
    """`pixels` are what the network is given for the pictures of each split, `splits` its predictions for them."""

    network: Foreign
    pictures: Folder
    pixels: dict[str, NDArray[Any]]
    splits: dict[str, Split]

    @classmethod
    def of(cls, stage: Stage, network: Foreign, pictures: Folder) -> Patient:
        """StageError where the network tells another number of classes apart than the folder has, or gives no numbers."""
        contract = scaled_before.contract(stage, network, pictures)
        parts = {"train": pictures.train, "validation": pictures.validation}
        pixels = {name: apply(contract, part.images) for name, part in parts.items()}
        splits = {name: Split(probabilities(network.whole, pixels[name]), part.labels) for name, part in parts.items()}
        if not all(np.isfinite(split.probabilities).all() for split in splits.values()):
            raise StageError(
                "the network gives values that are no finite numbers",
                hint="train it anew, at a lower rate",
            )
        return cls(network, pictures, pixels, splits)

    def silent(self) -> dict[str, float]:
        """For each layer with a ReLU, the share of its units (channels) that fire for none of the training images."""
        relus = self.network.relus
        if not relus:
            return {}
        model = keras.Model(self.network.whole.inputs, list(relus.values()))
        return units.silent(model, list(relus), (self.pixels["train"],), np.arange(len(self.pixels["train"])))

    def measured(self) -> Iterator[Finding]:
        """On the pixels and on BatchNormalization."""
        train = self.pictures.train
        if scale := foreign_scale.find(
            self.network, Sample(train.images, train.labels), self.pixels["train"], self.splits["validation"].accuracy
        ):
            yield scale
        if self.network.learning():
            epoch = {"val_accuracy": self.splits["validation"].accuracy}
            if gap := batchnorm_gap.find("train", self.both_modes(), epoch, self.recalibrated):
                yield gap

    def both_modes(self) -> dict[str, Any]:
        """How many images, loss and accuracy of the training images in inference mode and on the statistics of their batch."""
        rows = np.arange(max(len(self.pixels["train"]) // BATCH, 1) * BATCH)[: len(self.pixels["train"])]
        labels = self.pictures.train.labels[rows]
        mode = Feed(self.network.in_batch_mode().output, (self.pixels["train"],))
        on_batch = np.concatenate([values[0] for values in mode.outputs(rows, batch_size=min(BATCH, len(rows)))])
        modes = {"inference": self.splits["train"].probabilities[rows], "batch_statistics": as_probabilities(on_batch)}
        told = {name: loss_and_accuracy(values, labels) for name, values in modes.items()}
        return {"images": len(rows), **{name: {"loss": loss, "accuracy": right} for name, (loss, right) in told.items()}}

    def recalibrated(self) -> float:
        """Validation accuracy after re-estimating the statistics of the layers that learned, which keep those that they have."""
        train, validation = self.pixels["train"], self.pixels["validation"]
        feed = Feed(self.network.whole, (train,))
        estimated = batchnorm.estimate(self.network.in_batch_mode(), feed, np.arange(len(train)), BATCH)
        with batchnorm.holding(self.network.whole, estimated):
            return Split(probabilities(self.network.whole, validation), self.pictures.validation.labels).accuracy

    def leaked(self, seen: Seen) -> Iterator[Finding]:
        """On images of which there are copies in both splits."""
        copies = self.pictures.leaked
        leaked = np.array([item.path in copies for item in self.pictures.validation.items])
        right = seen.validation.predicted == seen.validation.labels
        found = leakage.find({"validation": leaked}, {"validation": right}, copies)
        if found:
            yield found
