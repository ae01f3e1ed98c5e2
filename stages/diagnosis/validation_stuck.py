"""Rule: training goes well, and validation stays where guessing would be; the symptom of the famous question."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from stages.diagnosis.finding import Effect, Finding
from stages.diagnosis.seen import Seen
from stages.network.scores import TINY

GAP = 0.2  # training accuracy above validation accuracy
UNLIKELY = 0.005  # probability: what is less likely than this did not come about by chance
ONE_CLASS = 0.95  # share of the predictions that are one class
FAR = 0.15  # that share, above the class's share of the images


def find(seen: Seen) -> Finding | None:
    """The finding, or None where validation is better than naming the most frequent class, or training is no better either.

    Silent also where so few validation images cannot tell chance from half-way to training.
    """
    training = seen.reached
    if training - seen.validation.accuracy < GAP:
        return None
    majority = seen.validation.majority
    if seen.validation.by_chance < UNLIKELY or seen.validation.accuracy > majority + GAP / 2:
        return None
    if seen.validation.interval()[1] > (majority + training) / 2:
        return None
    name, share = most_predicted(seen)
    only = f'; {100 * share:.0f} % of the validation images are called "{name}"' if collapsed(seen) else ""
    return Finding(
        rule="validation-at-chance",
        severity="error",
        title=title(seen),
        cause=f"Training reaches {training:.2f}{or_not(seen)}, validation {seen.validation.accuracy:.2f}, where naming the most "
        f"frequent class gives {majority:.2f}{only}.",
        evidence={
            "accuracy": training,
            "val_accuracy": seen.validation.accuracy,
            "majority": majority,
            "train_accuracy_inference": seen.train.accuracy,
            "most_predicted_share": share,
        },
        confidence=0.6,
    )


def title(seen: Seen) -> str:
    """What stays at chance: validation, or all that the network is shown."""
    return f"{'All images stay' if unknown(seen) else 'Validation stays'} at chance while training improves"


def or_not(seen: Seen) -> str:
    """What is to be said where the training images are at chance too."""
    if not unknown(seen):
        return ""
    return f" by its history, but {seen.train.accuracy:.2f} as the network is here (other weights, other pixels, or another mode)"


def unknown(seen: Seen) -> bool:
    """Whether the network does not know its training images either, as it is."""
    return seen.train.accuracy <= seen.train.majority + GAP / 2


def collapse(seen: Seen) -> Finding | None:
    """Nearly all validation images are called the same, which they are not."""
    if not collapsed(seen):
        return None
    name, share = most_predicted(seen)
    level = levelled(seen)
    return Finding(
        rule="one-class",
        severity="error",
        title=f'Nearly every image is called "{name}"',
        cause=f'{100 * share:.0f} % of the validation images are called "{name}", and '
        f"{100 * true_share(seen):.0f} % of them are.",
        evidence={"most_predicted_share": share, "true_share": true_share(seen), "val_accuracy": seen.validation.accuracy},
        effect=Effect(seen.validation.accuracy, level, "validation accuracy, all classes made equally likely on average")
        if level > seen.validation.accuracy
        else None,
        confidence=0.6,
    )


def levelled(seen: Seen) -> float:
    """Validation accuracy with each class's mean log-probability on training images taken off: what a wrong bias hides."""
    usual = np.log(np.maximum(seen.train.probabilities, TINY)).mean(axis=0)
    values = np.log(np.maximum(seen.validation.probabilities, TINY)) - usual
    return float((values.argmax(axis=1) == seen.validation.labels).mean())


def collapsed(seen: Seen) -> bool:
    """Whether (nearly) one class alone is predicted that has no such share of the images, of which there are enough to tell."""
    share, most = most_predicted(seen)[1], int(seen.validation_counts.max())
    by_chance = float(binom.sf(most - 1, len(seen.validation.labels), true_share(seen)))
    return share >= ONE_CLASS and share - true_share(seen) > FAR and by_chance < UNLIKELY


def most_predicted(seen: Seen) -> tuple[str, float]:
    """The class that most validation images are called, and how many of them."""
    counts = seen.validation_counts
    return seen.classes[int(counts.argmax())], float(counts.max() / counts.sum())


def true_share(seen: Seen) -> float:
    """Of that class among the validation images."""
    return float((seen.validation.labels == seen.validation_counts.argmax()).mean())
