"""Rules on what training did to the weights, layer by layer: |w - w0| / |w0| (the update-to-weight ratio, summed up)."""

from __future__ import annotations

from stages.diagnosis.finding import Finding
from stages.diagnosis.seen import Seen

PRETRAINED = 'stages.build.params.weights = "imagenet"'
DECAYED = 0.1  # of the rate above it, that a layer is left: below this it hardly learns
NOTHING = 1e-5  # relative change that changes no prediction


def frozen_moved(seen: Seen) -> Finding | None:
    """Layers that were to stay as they are, and did not."""
    free = seen.settings.get("learning_layers")
    if free is None:
        return None
    moved = {layer: change for layer, change in seen.changes.items() if layer not in free and change > 0}
    if not moved:
        return None
    layer = max(moved, key=moved.__getitem__)
    return Finding(
        rule="frozen-moved",
        severity="error",
        title=f"Layers changed that were frozen: {len(moved)}",
        cause=f"{layer} holds other weights than before training, by {moved[layer]:.2g} of their size; no other moved further.",
        evidence={"layers": len(moved), "largest_change": moved[layer]},
    )


def random_frozen(seen: Seen) -> Finding | None:
    """A backbone that was never trained, and could not be, below a head that learned something all the same."""
    if not never_learned(seen):
        return None
    split = seen.validation
    return Finding(
        rule="random-backbone",
        severity="warning",
        title="The backbone's weights are random, and none of them learned",
        cause=f"The head sees what random filters make of the pictures: validation accuracy is {split.accuracy:.2f}, "
        f"{split.majority:.2f} by naming the most frequent class.",
        evidence={"val_accuracy": split.accuracy, "val_accuracy_of_the_most_frequent_class": split.majority},
        fix=PRETRAINED,
        confidence=0.9,
    )


def never_learned(seen: Seen) -> bool:
    """Whether the backbone's weights are random, and no phase let one of its layers learn."""
    phases = seen.settings.get("phases", ())
    return bool(seen.settings.get("random_backbone")) and not any(phase["unfrozen_layers"] for phase in phases)


def unfrozen_stayed(seen: Seen) -> Finding | None:
    """Layers of the backbone that were unfrozen for nothing."""
    unfrozen = [layer for layer in seen.settings.get("unfrozen_layers", ()) if layer in seen.changes]
    if not unfrozen or max(seen.changes[layer] for layer in unfrozen) > NOTHING:
        return None
    largest = max(seen.changes[layer] for layer in unfrozen)
    decay = seen.settings["phases"][-1].get("layer_decay", 1.0)
    return Finding(
        rule="unfreezing-without-effect",
        severity="warning",
        title="The layers of the backbone that were unfrozen did not learn",
        cause=f"None of {len(unfrozen)} unfrozen layers changed by more than {largest:.1g} of its size, "
        "for which their activations were computed in every step"
        + (f"; layer_decay = {decay:g} leaves them next to none of the learning rate." if decay < DECAYED else "."),
        evidence={"layers": len(unfrozen), "largest_change": largest, "layer_decay": decay},
        fix=seen.line("layer_decay", 1.0) if decay < DECAYED else seen.line("unfreeze", 0),
    )
