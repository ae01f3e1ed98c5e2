"""Rule: training learned nothing, told apart by what the weights and the loss did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.diagnosis.finding import Finding
from stages.diagnosis.seen import Seen

EPOCHS, STEPS = 3, 30  # in fewer, a healthy training may not have begun to learn either
LEARNED = 0.97  # of the loss of who only knows the classes' shares: below this something was learned
BETTER = 0.05  # accuracy above that of naming the most frequent class: with it something was learned
SILENT = 0.9  # of a layer's units that never fire: nothing passes
ROSE = 1.3  # times the smallest loss
STILL = 1e-3  # largest change of a layer, in its own size, that leaves the network as it was


def find(seen: Seen, blamed: Sequence[Finding] = ()) -> Finding | None:
    """The finding with its likeliest cause, or None where the training loss fell.

    `blamed` are findings that explain it by themselves: on the pixels, or on what augmentation leaves of the pictures.
    """
    loss, accuracy = seen.column("loss"), seen.column("accuracy")
    steps = len(loss) * seen.settings.get("steps_per_epoch", STEPS)
    if not np.isfinite(loss).all():
        return not_finite(seen, int(np.flatnonzero(~np.isfinite(loss))[0]) + 1)
    if len(loss) < EPOCHS or steps < STEPS or knows(seen):
        return None
    end = slice(-max(len(loss) // 3, 1), None)  # what was learned before, and lost, is not known any more
    better = seen.majority + BETTER + 1 / np.sqrt(len(seen.training_labels))  # two standard errors of a guess
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


def knows(seen: Seen) -> bool:
    """Whether the trained network tells its training images apart, whatever its loss was."""
    split = seen.train
    own = -np.log(np.clip(split.probabilities[np.arange(len(split.labels)), split.labels], 1e-7, 1)).mean()
    present = np.unique(split.labels)
    recalls = [(split.predicted[split.labels == label] == label).mean() for label in present]
    shares = seen.shares[seen.shares > 0]
    return bool(own < LEARNED * -(shares * np.log(shares)).sum() or np.mean(recalls) > 1 / len(present) + 2 * BETTER)


def not_finite(seen: Seen, epoch: int) -> Finding:
    """The loss is no number any more."""
    return Finding(
        rule="learning-rate-high",
        severity="error",
        title=f"The training loss is not finite from epoch {epoch} on",
        cause="Steps were too large, or pixels were.",
        evidence={"epoch": epoch},
        fix=slower(seen, 0.1),
        confidence=0.7,
    )


def told(seen: Seen, evidence: dict[str, Any], rule: str, because: str, fix: str | None, confidence: float) -> Finding:
    """The finding; its rule says the cause."""
    return Finding(
        rule=rule,
        severity="error",
        title="Training learned nothing: its loss stays that of knowing the classes' shares alone",
        cause=f"The training loss ends at {evidence['loss_last']:.3f}; who only knows the shares has {seen.entropy:.3f}: "
        f"{because}.",
        evidence=evidence,
        fix=fix,
        confidence=confidence,
    )


def slower(seen: Seen, factor: float) -> str | None:
    """The line that multiplies the learning rate; None where it is not known."""
    rate = seen.settings.get("learning_rate")
    return seen.line("learning_rate", f"{rate * factor:.3g}") if isinstance(rate, float) else None


def silent(seen: Seen, evidence: dict[str, Any]) -> Finding | None:
    """Units that never fire: steps too large drove them out of the reach of every image."""
    shares = seen.silent()
    if not shares or max(shares.values()) < SILENT:
        return None
    layer, share = max(shares.items(), key=lambda found: found[1])
    because = f"{100 * share:.0f} % of the units of {layer} fire for no image and pass no gradient; steps were too large"
    return told(seen, evidence | {"silent_units": share}, "learning-rate-high", because, slower(seen, 0.1), 0.9)


def too_low(seen: Seen, evidence: dict[str, Any]) -> Finding | None:
    """Weights that hardly moved."""
    learned = learning(seen)
    if not learned or max(learned.values()) > STILL:
        return None
    because = f"no layer changed by more than {max(learned.values()):.1g} of its size; steps were too small"
    return told(seen, evidence | {"largest_change": max(learned.values())}, "learning-rate-low", because, slower(seen, 100), 0.9)


def learning(seen: Seen) -> dict[str, float]:
    """The changes of the layers that were to learn: all but those that did not move at all."""
    return {layer: change for layer, change in seen.changes.items() if change > 0}


def random_backbone(seen: Seen, evidence: dict[str, Any]) -> Finding | None:
    """A backbone that was never trained, and must not be."""
    if not seen.settings.get("random_backbone") or seen.settings.get("unfreeze") != 0:
        return None
    because = "the backbone's weights are random, and frozen"
    return told(seen, evidence, "random-backbone", because, 'stages.train.params.unfreeze = "all"', 0.8)


def too_high(seen: Seen, evidence: dict[str, Any]) -> Finding | None:
    """What is left: the loss rose, or nothing is known of the reason."""
    loss = seen.column("loss")
    largest = loss[1:].max()  # the first epoch begins with whatever a new head makes of the features
    if largest > ROSE * seen.entropy:
        because = f"it rose up to {largest:.3g}; steps were too large"
        return told(seen, evidence | {"loss_largest": largest}, "learning-rate-high", because, slower(seen, 0.1), 0.7)
    return told(seen, evidence, "not-learning", "no cause was found", None, 0.5)
