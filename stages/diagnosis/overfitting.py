"""Rule: the network learns its training images by heart; how much, and since when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.diagnosis.finding import Effect, Finding
from stages.diagnosis.seen import Row, Seen, Split

GAP = 0.15  # training accuracy above validation accuracy
ROSE = 1.25  # times its smallest value: the validation loss at the end
KNOWN, FAR_BEHIND = 0.98, 0.25  # training accuracy, and how far validation lies below it
PATIENT = 3  # epochs that early stopping waited: from these on it is a matter of taste
LATER = 2  # epochs after the best one
PARAMETERS_PER_IMAGE = 1000  # of the layers that learn: above, the images do not determine them


def find(seen: Seen) -> Finding | None:
    """The finding, or None where validation follows training. The best epoch's own weights are no longer at fault."""
    training, watched = seen.column("accuracy"), seen.column(seen.watched)
    if len(watched) < LATER + 2 or len(training) != len(watched) or not np.isfinite(watched).all():
        return None
    best, end = int(watched.argmin()), len(watched) - 1
    gap = float(training[end] - seen.validation.accuracy)
    if gap < GAP or watched[end] < ROSE * watched[best] or end - best < LATER or above_interval(seen, training[end]) is False:
        return None
    kept, epoch = 0 < seen.chosen <= best + 1, seen.before + best + 1
    return Finding(
        rule="overfitting",
        severity="note" if kept else "warning",
        title=f"The network learns its training images by heart from epoch {epoch + 1} on",
        cause=f"The validation loss is smallest after epoch {epoch} ({watched[best]:.3f}) and {watched[end]:.3f} at the end, "
        f"while training accuracy rises to {training[end]:.2f}, {gap:.2f} above validation.",
        evidence={
            "gap": gap,
            "best_epoch": epoch,
            "epochs": seen.before + end + 1,
            "val_loss_best": watched[best],
            "val_loss_end": watched[end],
            **size(seen),
        },
        fix=None if kept else fix(seen),
        effect=Effect(float(watched[end]), float(watched[best]), "validation loss of the last and of the best epoch"),
    )


def kept(history: Sequence[Row], validation: Split, penalty: float | None = 0.0) -> int:
    """The best epoch, from 1, where what the network does on validation images is nearer to that one's than to the last one's;
    else 0.

    By the loss, to which the history adds a `penalty` on the weights; by the accuracy where the history's loss is another one
    (`penalty` None).
    """
    by = "val_accuracy" if penalty is None else "val_loss"
    losses, told = (np.array([row.get(name, np.nan) for row in history]) for name in ("val_loss", by))
    if not len(losses) or not (np.isfinite(losses).all() and np.isfinite(told).all()):
        return 0
    own = validation.accuracy if penalty is None else float(validation.losses.mean()) + penalty
    best = int(losses.argmin())
    return best + 1 if abs(own - told[best]) < abs(own - told[-1]) else 0


def by_heart(seen: Seen) -> Finding | None:
    """All training images are known, and far fewer of validation, though its loss hardly rises: too few images to learn from."""
    training = seen.reached
    gap = training - seen.validation.accuracy
    if training < KNOWN or gap < FAR_BEHIND or not above_interval(seen, training):
        return None
    return Finding(
        rule="overfitting",
        severity="note",
        title="The network knows its training images by heart",
        cause=f"Training accuracy is {training:.2f}, {gap:.2f} above validation{hardly_rises(seen)}: "
        f"{len(seen.training_labels)} training images do not tell it more.",
        evidence={"gap": gap, "training_images": len(seen.training_labels), **size(seen)},
        fix=fix(seen) if flat_and_large(seen) else None,
    )


def hardly_rises(seen: Seen) -> str:
    """What the history tells of the validation loss."""
    return ", whose loss hardly rises" if len(seen.column(seen.watched)) else ""


def above_interval(seen: Seen, accuracy: float) -> bool:
    """Whether a training accuracy is above all that validation's may be."""
    return bool(accuracy > seen.validation.interval()[1])


def size(seen: Seen) -> dict[str, float]:
    """How many parameters learned for each training image, where that is known."""
    learned = seen.settings.get("trainable_parameters")
    return {} if learned is None else {"parameters_per_image": learned / len(seen.training_labels)}


def fix(seen: Seen) -> str | None:
    """A smaller head where it is too large for so few images, else an end at the best epoch, unless that is asked for."""
    if flat_and_large(seen):
        return 'stages.train.params.pooling = "avg"'
    if seen.settings.get("early_stopping"):
        return None
    plateau = any(phase.get("schedule") == "plateau" for phase in seen.settings.get("phases", ()))
    waits = 2 * seen.settings["plateau_patience"] + 1 if plateau else PATIENT  # a rate is lowered first
    return f"stages.train.params.early_stopping = {waits}"


def flat_and_large(seen: Seen) -> bool:
    """Whether the head takes every place of the feature map for itself, with more parameters than the images can determine."""
    many = size(seen).get("parameters_per_image", 0.0) > PARAMETERS_PER_IMAGE
    return many and seen.settings.get("head", {}).get("pooling") == "flatten"


def unfinished(seen: Seen) -> Finding | None:
    """Training ended, or was ended, while it still learned much in every epoch, and validation with it."""
    loss, watched = seen.column("loss"), seen.column(seen.watched)
    if len(loss) < LATER + 1 or len(watched) != len(loss) or np.argmin(watched) != len(watched) - 1:
        return None
    falls = 1 - loss[-LATER:] / loss[-LATER - 1 : -1]
    if falls.min() < 0.05 or done(seen):
        return None
    return Finding(
        rule="unfinished",
        severity="note",
        title="Training ended while it still learned",
        cause=f"The training loss fell by {100 * falls.mean():.0f} % in each of the last {LATER} epochs, "
        "and the last epoch is the best one on validation.",
        evidence={"loss_last": loss[-1], "fall_an_epoch": float(falls.mean())},
        fix=seen.line("epochs", 2 * len(loss)),
        confidence=0.7,
    )


def stopped_early(seen: Seen) -> Finding | None:
    """Early stopping took the noise of a few epochs for the end."""
    patience, asked = (seen.settings.get(name, 0) for name in ("early_stopping", "epochs_asked"))
    loss, watched = seen.column("loss"), seen.column(seen.watched)
    if not patience or len(loss) >= asked or len(loss) < patience + 1 or len(watched) != len(loss):
        return None
    steady = patience > 1 and (np.diff(watched[-patience - 1 :]) > 0).all()  # it rose in every epoch: that is no noise
    noise = deviation(seen)
    rose, falls = float(watched[-1] - watched.min()), float(1 - loss[-1] / loss[-patience - 1])
    if steady or not rose <= noise or falls < 0.1 or done(seen):
        return None
    return Finding(
        rule="stopped-too-early",
        severity="warning" if patience < PATIENT else "note",
        title=f"Early stopping ended training after {len(loss)} of {asked} epochs while it still learned",
        cause=f"The validation loss is {rose:.3f} above its best, less than its standard error of {noise:.3f} on "
        f"{len(seen.validation.labels)} images, while the training loss still fell by {100 * falls:.0f} %.",
        evidence={"rose": rose, "standard_error": noise, "fall": falls, "patience": patience},
        fix=f"stages.train.params.early_stopping = {max(5, 3 * patience)}",
        confidence=0.7,
    )


def done(seen: Seen) -> bool:
    """Whether nearly all training images are recognised."""
    return seen.reached > 0.95


def deviation(seen: Seen) -> float:
    """Standard error of the validation loss: what another draw of as many images would change; 0 where none can be told."""
    losses = seen.validation.losses
    return float(losses.std(ddof=1) / np.sqrt(len(losses))) if len(losses) > 1 else 0.0
