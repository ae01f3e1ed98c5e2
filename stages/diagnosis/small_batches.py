"""Rule: BatchNormalization learned on the statistics of so few images that an image's prediction hangs on its neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stages.diagnosis.finding import Finding

FEW = 16  # images in a batch: below, it is measured
MORE = 32  # images whose statistics are taken beside, at least
CHANGED = 0.1  # share of images that are named differently there
COST = 0.05  # accuracy that the network, as it is, lacks of that: else its own statistics make up for the small ones


def larger(batch_size: int) -> int:
    """The larger batch that a small one is compared with, a multiple of it; the batch itself where it is not small."""
    return batch_size * math.ceil(MORE / batch_size) if batch_size < FEW else batch_size


def find(batch_size: int, train_modes: Mapping[str, Any], recalibrated: bool = False) -> Finding | None:
    """The finding, or None where predictions agree or nothing was measured.

    `train_modes` has under "larger_batches" what became of the same training images in these, with the share of them that is
    named differently. `recalibrated`: the network's statistics were re-estimated.
    """
    larger = train_modes.get("larger_batches")
    if larger is None or larger["changed"] <= CHANGED:
        return None
    small, used = train_modes["batch_statistics"], train_modes["inference"]
    if larger["accuracy"] - used["accuracy"] <= COST:
        return None
    images = f"the statistics of {larger['batch_size']} images"
    return Finding(
        rule="small-batches",
        severity="warning",
        title=f"BatchNormalization learned on the statistics of {batch_size} images",
        cause=f"So few images tell little of all: on {images}, {100 * larger['changed']:.0f} % of the same training images are "
        f"named differently, and {100 * larger['accuracy']:.0f} % rightly. The network remembers a mean of such small batches' "
        f"statistics, on which {100 * used['accuracy']:.0f} % are.",
        evidence={
            "batch_size": batch_size,
            "changed": larger["changed"],
            "train_accuracy": used["accuracy"],
            "train_accuracy_small": small["accuracy"],
            "train_accuracy_larger": larger["accuracy"],
            "train_loss_small": small["loss"],
            "train_loss_larger": larger["loss"],
        },
        fix=f"stages.train.params.batch_size = {MORE}" if recalibrated else 'stages.train.params.batchnorm = "recalibrate"',
    )
