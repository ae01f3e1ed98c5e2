"""Rule: BatchNormalization learned on the statistics of so few images that an image's prediction hangs on its neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stages.diagnosis.finding import Finding

FEW = 16  # images in a batch: below, it is measured
MORE = 32  # images whose statistics are taken beside, at least
CHANGED = 0.1  # share of images that are named differently there
COST = 0.05  # accuracy that is another one there: among many classes names change that were doubtful anyhow


def larger(batch_size: int) -> int:
    """The larger batch that a small one is compared with, a multiple of it; the batch itself where it is not small."""
    return batch_size * math.ceil(MORE / batch_size) if batch_size < FEW else batch_size


def find(batch_size: int, train_modes: Mapping[str, Any], random: bool = False) -> Finding | None:
    """The finding, or None where predictions agree or nothing was measured.

    `train_modes` has under "larger_batches" what became of the same training images in these, with the share of them that is
    named differently. A backbone that began with `random` weights has no statistics that could be frozen.
    """
    larger = train_modes.get("larger_batches")
    if larger is None or larger["changed"] <= CHANGED:
        return None
    small = train_modes["batch_statistics"]
    if abs(larger["accuracy"] - small["accuracy"]) <= COST:
        return None
    images = f"the statistics of {larger['batch_size']} images"
    return Finding(
        rule="small-batches",
        severity="warning",
        title=f"BatchNormalization learned on the statistics of {batch_size} images",
        cause=f"So few images tell little of all: on {images}, {100 * larger['changed']:.0f} % of the same training images are "
        "named differently. The network learned under noise that comes from which images happened to be neighbours.",
        evidence={
            "batch_size": batch_size,
            "changed": larger["changed"],
            "train_accuracy_small": small["accuracy"],
            "train_accuracy_larger": larger["accuracy"],
            "train_loss_small": small["loss"],
            "train_loss_larger": larger["loss"],
        },
        fix=f"stages.train.params.batch_size = {MORE}" if random else 'stages.train.params.batchnorm = "frozen"',
    )
