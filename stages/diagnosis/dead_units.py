"""Rule: a layer passes nothing on, so that the network says the same of every image; whatever its loss once was."""

from __future__ import annotations

import numpy as np

from stages.diagnosis.finding import Finding
from stages.diagnosis.reasons import another_rate, silent_layer
from stages.diagnosis.seen import Seen

SAME = 1e-6  # probability: the largest difference between images of which the same is said


def find(seen: Seen) -> Finding | None:
    """The finding, or None where images make a difference."""
    if len(seen.train.labels) < 2 or np.ptp(seen.train.probabilities, axis=0).max() > SAME:
        return None
    found = silent_layer(seen)
    if not found:
        return None
    layer, share = found
    return Finding(
        rule="dead-units",
        severity="error",
        title="The network says the same of every image",
        cause=f"{100 * share:.0f} % of the units of {layer} fire for no image, so that nothing of an image reaches the output; "
        "steps that are too large do that.",
        evidence={"silent_units": share, "train_accuracy": seen.train.accuracy, "val_accuracy": seen.validation.accuracy},
        fix=another_rate(seen, 0.1),
        confidence=0.8,
    )
