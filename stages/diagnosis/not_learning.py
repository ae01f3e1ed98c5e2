"""Rule: training learned nothing, told apart by what the weights and the loss did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis.finding import Finding
from stages.diagnosis.seen import Seen

EPOCHS, STEPS = 3, 30  # in fewer, a healthy training may not have begun to learn either
BATCH = 32  # images in a step where it is not known
LEARNED = 0.97  # of the loss of who only knows the classes' shares: below this something was learned
BETTER = 0.05  # accuracy above that of naming the most frequent class, or as much again: with it something was learned
PENALTY = 0.05  # of the loss of knowing the shares: a penalty on the weights that is larger makes losses no cross-entropies
SILENT = 0.9  # of a layer's units that never fire: nothing passes
ROSE = 1.3  # times the smallest loss before
THROWN = 30  # times ln K, the loss of who knows nothing: no first weights have so much, steps too large made it
SURE = 3  # times ln K, at the end: the network is sure of wrong classes
STRAIGHT = 0.1  # spread of the falls from epoch to epoch, in the mean fall: a loss that falls in a line has met no bend yet
CREPT = 0.05  # of the loss, fallen in a line over the whole training: hardly anything happened
FIRST = 0.8  # of the loss of knowing the shares: first weights are not below it by chance
STILL_FALLS = 0.03  # of the loss, in the last epoch
STILL = 1e-3  # largest change of a layer, in its own size, that leaves the network as it was


def find(seen: Seen, blamed: Sequence[Finding] = ()) -> Finding | None:
    """The finding with its likeliest cause, or None where the training loss fell.

    `blamed` are findings that explain it by themselves: on the pixels, or on what augmentation leaves of the pictures.
    """
    loss, accuracy = seen.column("loss"), seen.column("accuracy")
    steps = len(loss) * seen.settings.get("steps_per_epoch", math.ceil(len(seen.training_labels) / BATCH))
    if not np.isfinite(loss).all():
        return not_finite(seen, seen.before + int(np.flatnonzero(~np.isfinite(loss))[0]) + 1)
    if penalised(seen):
        return None
    if loss.max(initial=0.0) > THROWN * math.log(len(seen.classes)):
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
        "accuracy_last": accuracy[-1] if len(accuracy) else seen.train.accuracy,
        "accuracy_of_the_most_frequent_class": seen.majority,
        "epochs": len(loss),
    }
    if blamed:
        because = "; ".join(finding.title for finding in blamed)
        return told(seen, evidence, "not-learning", because, blamed[0].fix, 0.8)
    return silent(seen, evidence) or too_low(seen, evidence) or random_backbone(seen, evidence) or too_high(seen, evidence)


def penalised(seen: Seen) -> bool:
    """Whether the losses hold a penalty on the weights, so large that they cannot be compared with those of guesses."""
    return bool(seen.settings.get("penalty", 0.0) > PENALTY * seen.entropy)


def crept(loss: NDArray[np.float64]) -> bool:
    """Whether the loss fell in a straight line, and hardly at all; what first weights know by chance does not matter then."""
    return straight(loss) and loss[0] - loss[-1] < CREPT * loss[0]


def straight(loss: NDArray[np.float64]) -> bool:
    """Whether it fell by about as much in every epoch: no weight has come far enough to change the slope."""
    falls = -np.diff(loss)
    return bool(len(falls) > 1 and falls.min() > 0 and falls.std() < STRAIGHT * falls.mean())


def knows(seen: Seen) -> bool:
    """Whether the trained network tells its training images apart, whatever its loss was."""
    split = seen.train
    own = -np.log(np.clip(split.probabilities[np.arange(len(split.labels)), split.labels], 1e-7, 1)).mean()
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


def told(seen: Seen, evidence: dict[str, Any], rule: str, because: str, fix: str | None, confidence: float) -> Finding:
    """The finding; its rule says the cause."""
    fell = 1 - evidence["loss_last"] / evidence["loss_first"]
    little = f"Training hardly learned: its loss fell by {100 * fell:.1g} %"
    nothing = "Training learned nothing: its loss stays that of knowing the classes' shares alone"
    return Finding(
        rule=rule,
        severity="error",
        title=little if evidence["loss_last"] < LEARNED * seen.entropy else nothing,
        cause=f"The training loss ends at {evidence['loss_last']:.3f}; who only knows the shares has {seen.entropy:.3f}: "
        f"{because}.",
        evidence=evidence,
        fix=fix,
        confidence=confidence,
    )


def another_rate(seen: Seen, factor: float) -> str | None:
    """The line that has the learning rate measured, or multiplied where it was measured; None where it is not known."""
    phases = seen.settings.get("phases", ())
    if "learning_rate" not in seen.settings or not phases:
        return None
    measured = phases[-1].get("finder")
    return seen.line("learning_rate", f"{measured['learning_rate'] * factor:.3g}" if measured else '"find"')


def silent_layer(seen: Seen) -> tuple[str, float] | None:
    """The layer with the largest share of units that never fire, and that share; None where all pass something on."""
    shares = seen.silent()
    layer = max(shares, key=shares.__getitem__, default=None)
    return None if layer is None or shares[layer] < SILENT else (layer, shares[layer])


def silent(seen: Seen, evidence: dict[str, Any]) -> Finding | None:
    """Units that never fire: steps too large drove them out of the reach of every image."""
    found = silent_layer(seen)
    if not found:
        return None
    layer, share = found
    because = f"{100 * share:.0f} % of the units of {layer} fire for no image and pass no gradient; steps were too large"
    return told(seen, evidence | {"silent_units": share}, "learning-rate-high", because, another_rate(seen, 0.1), 0.9)


def too_low(seen: Seen, evidence: dict[str, Any]) -> Finding | None:
    """Weights that hardly moved: measured on them, or told by a loss that falls, but in a straight line."""
    learned, falls = learning(seen), -np.diff(seen.column("loss"))
    if learned and max(learned.values()) <= STILL:
        because = f"no layer changed by more than {max(learned.values()):.1g} of its size; steps were too small"
        return told(
            seen, evidence | {"largest_change": max(learned.values())}, "learning-rate-low", because, another_rate(seen, 100), 0.9
        )
    if straight(seen.column("loss")):
        because = f"it fell by {falls.mean():.2g} in every epoch, in a straight line; steps were too small"
        return told(seen, evidence | {"fall_an_epoch": falls.mean()}, "learning-rate-low", because, another_rate(seen, 100), 0.8)
    if falls.min() > 0 and falls[-1] > STILL_FALLS * evidence["loss_last"]:
        because = f"it fell in every epoch, from {evidence['loss_first']:.3g}, and still falls; steps were too few, or too small"
        return told(seen, evidence, "learning-rate-low", because, another_rate(seen, 10), 0.6)
    return None


def learning(seen: Seen) -> dict[str, float]:
    """The changes of the layers that were to learn: all but those that did not move at all."""
    return {layer: change for layer, change in seen.changes.items() if change > 0}


def random_backbone(seen: Seen, evidence: dict[str, Any]) -> Finding | None:
    """A backbone that was never trained, and must not be."""
    if not seen.settings.get("random_backbone") or seen.settings.get("unfreeze") != 0:
        return None
    because = "the backbone's weights are random, and frozen"
    return told(seen, evidence, "random-backbone", because, seen.line("unfreeze", '"all"'), 0.8)


def thrown(seen: Seen, epoch: int, loss: float) -> Finding:
    """The weights were thrown so far away that the network was sure of wrong classes."""
    return Finding(
        rule="learning-rate-high",
        severity="warning" if knows(seen) else "error",
        title=f"The training loss was {loss:.3g} in epoch {epoch}: steps were too large",
        cause=f"Who only knows the classes' shares has a loss of {seen.entropy:.3f}; no first weights are so far from it.",
        evidence={"loss_largest": loss, "loss_of_knowing_the_shares_alone": seen.entropy, "epoch": epoch},
        fix=another_rate(seen, 0.1),
        confidence=0.8,
    )


def too_high(seen: Seen, evidence: dict[str, Any]) -> Finding | None:
    """What is left: the loss rose, or ended far above that of guesses, or nothing is known of the reason."""
    loss = seen.column("loss")
    rise = float((loss[1:] / np.minimum.accumulate(loss)[:-1]).max())
    because = f"it rose to {rise:.2g} times what it was before" if rise > ROSE else ""
    if loss[-1] > SURE * math.log(len(seen.classes)):
        because = because or "the network is sure of wrong classes, as weights are that were thrown far"
    if because:
        return told(
            seen,
            evidence | {"rise": rise},
            "learning-rate-high",
            f"{because}; steps were too large",
            another_rate(seen, 0.1),
            0.7,
        )
    return told(seen, evidence, "not-learning", "no cause was found", None, 0.5)
