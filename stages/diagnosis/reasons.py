"""Why a training learned nothing: told by what its weights and its loss did."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis.finding import Finding
from stages.diagnosis.seen import Seen
from stages.diagnosis.weights import PRETRAINED, never_learned

LEARNED = 0.97  # of the loss of who only knows the classes' shares: below this something was learned
SILENT = 0.9  # of a layer's units that never fire: nothing passes; of images whose outputs are 0 or 1
CUT = 1e-7  # where Keras cuts probabilities off in a loss: beyond it they pass no gradient
SAME = 1e-6  # of the loss: it differs between epochs by no more than float32 rounds
STILL = 1e-3  # largest change of a layer, in its own size, that leaves the network as it was
STRAIGHT = 0.1  # spread of the falls from epoch to epoch, in the mean fall: a loss that falls in a line has met no bend yet
STILL_FALLS = 0.03  # of the loss, in the last epoch
ROSE = 1.3  # times the smallest loss before
SURE = 3  # times ln K, at the end: the network is sure of wrong classes
FAR = 1.0  # largest change of a layer, in its own size: healthy heads of large features move by 0.7 at most


def likeliest(seen: Seen, evidence: dict[str, Any]) -> Finding | None:
    """The finding with the first cause that shows."""
    causes = (silent, saturated, too_low, random_backbone, too_high)
    return next((finding for cause in causes if (finding := cause(seen, evidence))), None)


def moved_far(seen: Seen) -> bool:
    """Whether steps moved the weights of a layer by more than healthy ones do, or that is not known."""
    return max(seen.changes.values(), default=FAR) >= FAR


def told(seen: Seen, evidence: dict[str, Any], rule: str, because: str, fix: str | None, confidence: float) -> Finding:
    """The finding; its rule says the cause."""
    fell = 1 - evidence["loss_last"] / evidence["loss_first"]
    little = f"Training hardly learned: its loss fell by {100 * fell:.1g} %"
    far = "far above that" if evidence["loss_last"] > SURE * seen.entropy else "that"
    nothing = f"Training learned nothing: its loss stays {far} of knowing the classes' shares alone"
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


def saturated(seen: Seen, evidence: dict[str, Any]) -> Finding | None:
    """Probabilities that round to 0 and 1 for nearly every image, and a loss that stands still at the end; no weights were thrown
    far."""
    own, loss = seen.train.given, seen.column("loss")
    share = float(((own < CUT) | (own > 1 - CUT)).mean())
    last = loss[-max(len(loss) // 2, 2) :]
    stands = np.ptp(last) <= SAME * last.max()
    if not seen.settings.get("saturates") or moved_far(seen) or not stands or share < SILENT:
        return None
    because = (
        f"the outputs are 0 or 1 for {100 * share:.0f} % of the images, of which a loss on probabilities passes no gradient, "
        f"and it is the same in the last {len(last)} epochs"
    )
    return told(seen, evidence | {"saturated": share}, "saturated-outputs", because, None, 0.9)


def too_low(seen: Seen, evidence: dict[str, Any]) -> Finding | None:
    """Weights that hardly moved: measured on them, or told by a loss that falls, but in a straight line."""
    learned, falls = learning(seen), -np.diff(seen.column("loss"))
    if learned and max(learned.values()) <= STILL:
        which = next(iter(learned)) if len(learned) == 1 else "of the layers that learn each"
        because = f"{which} changed by at most {max(learned.values()):.1g} of its size; steps were too small"
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


def straight(loss: NDArray[np.float64]) -> bool:
    """Whether it fell by about as much in every epoch: no weight has come far enough to change the slope."""
    falls = -np.diff(loss)
    return bool(len(falls) > 1 and falls.min() > 0 and falls.std() < STRAIGHT * falls.mean())


def learning(seen: Seen) -> dict[str, float]:
    """The changes of the layers that were to learn: all but those that did not move at all."""
    return {layer: change for layer, change in seen.changes.items() if change > 0}


def random_backbone(seen: Seen, evidence: dict[str, Any]) -> Finding | None:
    """A backbone that was never trained, and must not be."""
    if not never_learned(seen):
        return None
    because = "the backbone's weights are random, and frozen"
    return told(seen, evidence, "random-backbone", because, PRETRAINED, 0.8)


def too_high(seen: Seen, evidence: dict[str, Any]) -> Finding | None:
    """The loss rose, or ended far above that of guesses on weights that were thrown far."""
    loss = seen.column("loss")
    rise = float((loss[1:] / np.minimum.accumulate(loss)[:-1]).max())
    because = f"it rose to {rise:.2g} times what it was before" if rise > ROSE else ""
    if loss[-1] > SURE * math.log(len(seen.classes)) and moved_far(seen):
        because = because or "the network is sure of wrong classes, as weights are that were thrown far"
    if not because:
        return None
    because += "; steps were too large"
    return told(seen, evidence | {"rise": rise}, "learning-rate-high", because, another_rate(seen, 0.1), 0.7)
