"""Rule: training learned nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis import reasons
from stages.diagnosis.finding import Finding
from stages.diagnosis.reasons import LEARNED, another_rate, moved_far, straight, told, too_low
from stages.diagnosis.seen import Seen

EPOCHS, STEPS = 3, 30  # in fewer, a healthy training may not have begun to learn either
BATCH = 32  # images in a step where it is not known
BETTER = 0.05  # accuracy above that of naming the most frequent class, or as much again: with it something was learned
PENALTY = 0.05  # of the loss of knowing the shares: a penalty on the weights that is larger makes losses no cross-entropies
THROWN = 30  # times ln K, the loss of who knows nothing: steps too large made it, where they moved the weights far
CREPT = 0.05  # of the loss, fallen in a line over the whole training: hardly anything happened
FIRST = 0.8  # of the loss of knowing the shares: first weights are not below it by chance


def find(seen: Seen, blamed: Sequence[Finding] = ()) -> Finding | None:
    """The finding with its likeliest cause, or None where the training loss fell.

    `blamed` are findings that explain it by themselves: on the pixels, or on what augmentation leaves of the pictures. A note,
    which a linear probe did not mind, is the cause where there is no other: a head takes features as large as they are.
    """
    loss, accuracy = seen.column("loss"), seen.column("accuracy")
    steps = len(loss) * seen.settings.get("steps_per_epoch", math.ceil(len(seen.training_labels) / BATCH))
    if not np.isfinite(loss).all():
        return not_finite(seen, seen.before + int(np.flatnonzero(~np.isfinite(loss))[0]) + 1)
    if penalised(seen):
        return None
    began_there = not seen.changes and len(loss) and loss.argmax() == 0  # first weights of large features do that too
    if loss.max(initial=0.0) > THROWN * math.log(len(seen.classes)) and moved_far(seen) and not began_there:
        return thrown(seen, seen.before + int(loss.argmax()) + 1, float(loss.max()))
    if len(loss) < EPOCHS or steps < STEPS:
        return None
    if crept(loss) and loss[-1] > FIRST * seen.entropy:
        return too_low(seen, {"loss_first": loss[0], "loss_last": loss[-1], "loss_of_knowing_the_shares_alone": seen.entropy})
    if knows(seen):
        return None
    end = slice(-max(len(loss) // 3, 1), None)  # what was learned before, and lost, is not known any more
    better = seen.majority + min(BETTER, seen.majority) + 1 / np.sqrt(len(seen.training_labels))  # two standard errors of a guess
    if loss[end].min() < LEARNED * seen.entropy or (len(accuracy) and accuracy[end].max() > better):
        return None
    evidence: dict[str, Any] = {
        "loss_first": loss[0],
        "loss_last": loss[-1],
        "loss_of_knowing_the_shares_alone": seen.entropy,
        "accuracy_last": seen.reached,
        "accuracy_of_the_most_frequent_class": seen.majority,
        "epochs": len(loss),
    }
    if serious := [finding for finding in blamed if finding.severity != "note"]:
        return explained(seen, evidence, "not-learning", serious)
    if found := reasons.likeliest(seen, evidence):
        return found
    if blamed:
        return explained(seen, evidence, blamed[0].rule, blamed)
    return told(seen, evidence, "not-learning", "no cause was found", None, 0.5)


def explained(seen: Seen, evidence: dict[str, Any], rule: str, by: Sequence[Finding]) -> Finding:
    """The finding, its cause being other findings."""
    return told(seen, evidence, rule, "; ".join(finding.title for finding in by), by[0].fix, 0.8)


def penalised(seen: Seen) -> bool:
    """Whether the losses cannot be compared with those of guesses: they hold a large penalty on the weights, or (None) are no
    cross-entropies of the classes at all."""
    penalty = seen.settings.get("penalty", 0.0)
    return penalty is None or bool(penalty > PENALTY * seen.entropy)


def crept(loss: NDArray[np.float64]) -> bool:
    """Whether the loss fell in a straight line, and hardly at all; what first weights know by chance does not matter then."""
    return straight(loss) and loss[0] - loss[-1] < CREPT * loss[0]


def knows(seen: Seen) -> bool:
    """Whether the trained network tells its training images apart, whatever its loss was."""
    split = seen.train
    own = split.losses.mean()
    present = np.unique(split.labels)
    recalls = [(split.predicted[split.labels == label] == label).mean() for label in present]
    shares, guess = seen.shares[seen.shares > 0], 1 / len(present)
    return bool(own < LEARNED * -(shares * np.log(shares)).sum() or np.mean(recalls) > guess + 2 * min(BETTER, guess))


def not_finite(seen: Seen, epoch: int) -> Finding:
    """The loss is no number any more."""
    return Finding(
        rule="learning-rate-high",
        severity="error",
        title=f"The training loss is not finite from epoch {epoch} on",
        cause="Steps were too large, or pixels were.",
        evidence={"epoch": epoch},
        fix=another_rate(seen, 0.1),
        confidence=0.7,
    )


def thrown(seen: Seen, epoch: int, loss: float) -> Finding:
    """The weights were thrown so far away that the network was sure of wrong classes."""
    return Finding(
        rule="learning-rate-high",
        severity="warning" if knows(seen) else "error",
        title=f"The training loss was {loss:.3g} in epoch {epoch}: steps were too large",
        cause=f"Who only knows the classes' shares has a loss of {seen.entropy:.3f}.",
        evidence={"loss_largest": loss, "loss_of_knowing_the_shares_alone": seen.entropy, "epoch": epoch},
        fix=another_rate(seen, 0.1),
        confidence=0.8,
    )
