"""A trained network, the images it is judged on, and the shortest way from these to what it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage, StageError
from stages import json_files
from stages.data.labels import Labels
from stages.data.rows import Rows
from stages.network import activations, keras_files, latency
from stages.network.feed import Feed
from stages.network.prefix import Prefix

CHECKED = 64  # images that go through the saved model from their pixels
TOLERANCE = {"float32": 1e-4, "float16": 1e-2}  # of a probability, by the type of stored activations
HINTS = {
    "float32": 'set stages.train.params.activations = "off", and report this: it is a fault of kpipe',
    "float16": 'set stages.train.params.activations = "float32"',
}


@dataclass(frozen=True)
class Trained:
    """A trained network, how it was trained, and the images it is judged on."""

    network: keras.Model
    training: dict[str, Any]
    labels: Labels
    pixels: Feed
    feed: Feed  # the shortest way to the same output: from stored activations where there are any
    cut: Sequence[str]  # names of the tensors that these are; none where the feed is pixels

    @classmethod
    def read(cls, stage: Stage) -> Trained:
        """From the artifacts of ingest, build and train."""
        network = keras_files.read(stage.inputs["train"] / "model.keras")
        latency.traced(network)  # once for all that is done with it from pixels
        training = json_files.read(stage.inputs["train"] / "training.json")
        cut = training["frozen_prefix"]["cut"] if training["frozen_prefix"] else []
        prefix = Prefix.of(stage, network, cut, training["activations"])
        feed = activations.feed(stage, prefix)
        pixels = Feed(network, (Rows.of(stage.inputs["ingest"] / "images.npy"),))
        return cls(network, training, Labels(stage.inputs["ingest"], training["fold"]), pixels, feed, prefix.cut)


def check_from_pixels(stage: Stage, trained: Trained, rows: NDArray[np.int64], probabilities: NDArray[np.float32]) -> None:
    """StageError where the saved model, given pixels, does not predict what its upper part did, given activations."""
    if trained.feed.model is trained.network:
        return
    kind = trained.training["activations"]
    chosen = np.linspace(0, len(rows) - 1, min(CHECKED, len(rows))).astype(np.int64)
    from_pixels = trained.pixels.predict(rows[chosen], batch_size=max(latency.BATCHES))
    difference = float(np.abs(from_pixels - probabilities[chosen]).max())
    stage.measure(from_pixels={"images": len(chosen), "difference": difference, "tolerance": TOLERANCE[kind]})
    says = f"predictions from stored {kind} activations differ from the saved model's by up to {difference:.2g}"
    if not difference <= TOLERANCE[kind]:
        raise StageError(says, hint=HINTS[kind])
    if kind != "float32":
        stage.notice(f"{says} on {len(chosen)} images; {TOLERANCE[kind]:g} is allowed")
