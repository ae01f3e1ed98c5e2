"""Rule: augmentation is so strong that the network no longer recognises its own training images in it."""

from __future__ import annotations

from stages.diagnosis.finding import Finding
from stages.diagnosis.seen import Split

LOST = 0.2  # accuracy on the same images, plain and augmented
AGREED = 0.8  # predictions that are the same on both


def find(plain: Split, augmented: Split, recipe: str, fix: str) -> Finding | None:
    """The finding, or None where augmented copies of training images are (nearly) as well recognised as the images."""
    agreement = float((plain.predicted == augmented.predicted).mean())
    if agreement > AGREED or plain.accuracy - augmented.accuracy < LOST or augmented.interval()[1] > plain.interval()[0]:
        return None
    return Finding(
        rule="augmentation-too-strong",
        severity="warning",
        title=f'Augmentation "{recipe}" makes training images unrecognisable',
        cause=f"The network calls {100 * agreement:.0f} % of its training images the same when they are augmented: "
        f"it is right on {plain.accuracy:.2f} of them as they are and on {augmented.accuracy:.2f} of them augmented.",
        evidence={"agreement": agreement, "accuracy_plain": plain.accuracy, "accuracy_augmented": augmented.accuracy},
        fix=fix,
        confidence=0.8,
    )
