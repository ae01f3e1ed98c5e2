"""Rule: the moving statistics of BatchNormalization do not describe the data, so that inference fails where training did not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stages.diagnosis.finding import Effect, Finding

GAP = 0.05  # accuracy of the same images in the two modes
FEWEST = 6  # images that make the gap: so few, all on one side, are 1 in 64 by chance
SERIOUS = 0.2
SLOW = 0.05  # share of the moving statistics from before the training: above, they had too few steps to follow
FIX = 'stages.train.params.batchnorm = "recalibrate"'


def find(
    used: str,
    train_modes: Mapping[str, Any],
    epoch: Mapping[str, float],
    validation_recalibrated: Callable[[], float],
    memory: Mapping[str, float] | None = None,
) -> Finding | None:
    """The finding, or None where the statistics serve or where no such layer learned.

    `used` is how unfrozen layers were treated, `train_modes` accuracy and loss of so many "images" of training in both modes,
    `epoch` the chosen epoch's row of the history; `validation_recalibrated` measures validation accuracy on re-estimated
    statistics, and is called only where there is a gap; `memory`, from `remembered`, is known where the number of steps is.
    """
    if used == "recalibrate":
        return cured(train_modes, epoch)
    gap = train_modes["batch_statistics"]["accuracy"] - train_modes["inference"]["accuracy"]
    if used != "train" or gap <= GAP or round(gap * train_modes["images"]) < FEWEST:
        return None
    return Finding(
        rule="batchnorm-gap",
        severity="error" if gap > SERIOUS else "warning",
        title="BatchNormalization's moving statistics do not describe the data",
        cause="The same training images are classified well with the statistics of their batch, as in training, "
        "and badly with the moving statistics, as in validation and in use." + too_slow(memory or {}),
        evidence={**evidence(train_modes), **(memory or {})},
        fix=FIX,
        effect=Effect(
            epoch["val_accuracy"], validation_recalibrated(), "validation accuracy, after re-estimating the statistics"
        ),
    )


def remembered(momentum: float, steps: int) -> dict[str, float]:
    """How much of an average that is moved this often is what it was before: each step keeps the momentum's share of it."""
    return {"momentum": momentum, "steps": steps, "share_from_before": momentum**steps}


def too_slow(memory: Mapping[str, float]) -> str:
    """What the number of steps explains of the gap."""
    share = memory.get("share_from_before", 0.0)
    if share <= SLOW:
        return ""
    return (
        f" {100 * share:.0f} % of the moving statistics are still those from before the training: "
        f"{memory['steps']:.0f} steps with a momentum of {memory['momentum']:g} are too few to replace them."
    )


def cured(train_modes: Mapping[str, Any], epoch: Mapping[str, float]) -> Finding | None:
    """A note that re-estimated statistics were needed, where they were."""
    moving, recalibrated = epoch["val_accuracy"], epoch["val_accuracy_recalibrated"]
    if recalibrated - moving <= GAP:
        return None
    return Finding(
        rule="batchnorm-gap",
        severity="note",
        title="BatchNormalization's moving statistics lagged behind; the saved model has re-estimated ones",
        cause="The weights moved faster than the moving averages could follow; "
        "the statistics were estimated again from training images, with the weights held still.",
        evidence={
            "validation_loss_moving": epoch["val_loss"],
            "validation_loss_recalibrated": epoch["val_loss_recalibrated"],
            **evidence(train_modes),
        },
        effect=Effect(moving, recalibrated, "validation accuracy on moving and on re-estimated statistics"),
    )


def evidence(train_modes: Mapping[str, Any]) -> dict[str, float]:
    """The two modes' numbers by name."""
    return {
        f"train_{number}_{mode}": train_modes[mode][number]
        for mode in ("inference", "batch_statistics")
        for number in ("accuracy", "loss")
    }
