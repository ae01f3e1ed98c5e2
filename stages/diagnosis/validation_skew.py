"""Rule: the program that trained a network prepared its validation images in another way than its training images."""

from __future__ import annotations

from stages.diagnosis.finding import Effect, Finding
from stages.diagnosis.seen import Seen

SKEW, SERIOUS = 0.1, 0.2  # accuracy by which the saved network is better than the history's best epoch
FIX = "prepare validation images by the code that prepares training images: the same rescaling, order of classes, no augmentation"


def find(seen: Seen) -> Finding | None:
    """The finding, or None where the network is as good on these images as the history says, or worse: then it is not known why.

    Whatever epoch was saved, its accuracy is not above the best one's; `seen.validation` are the history's own images.
    """
    told = seen.column("val_accuracy")
    better = seen.validation.accuracy - told.max(initial=0.0)
    if not len(told) or better < SKEW or seen.validation.interval()[0] <= told.max():
        return None
    return Finding(
        rule="validation-skew",
        severity="error" if better > SERIOUS else "warning",
        title="Validation was prepared in another way than training",
        cause=f"The history's validation accuracy is {told.max():.2f} at best, but the saved network reaches "
        f"{seen.validation.accuracy:.2f} on these validation images, prepared as it knows its training images: the program gave "
        "them other pixels, or labels in another order.",
        evidence={"val_accuracy_best": float(told.max()), "val_accuracy_measured": seen.validation.accuracy},
        fix=FIX,
        effect=Effect(float(told.max()), seen.validation.accuracy, "validation accuracy, prepared as training images are"),
        confidence=0.8,
    )
