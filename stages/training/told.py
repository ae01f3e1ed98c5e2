"""What is written of a training: training.json and history.csv."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.network import graph
from stages.training.state import Row
from stages.training.training import Training


def tell(training: Training) -> dict[str, Any]:
    """training.json. What differs between phases is that of the last one, at the top level."""
    settings, network, state = training.settings, training.network, training.state
    phases = [tell_phase(training, number) for number in range(len(settings.phases))]
    last = training.outline(len(settings.phases) - 1)
    return {
        "parameters": network.count_params(),
        "trainable_parameters": sum(math.prod(variable.shape) for variable in network.trainable_variables),
        "classes": training.labels.classes,
        "unfreeze": settings.phases[-1].unfreeze,
        "unfrozen_layers": last.unfrozen,
        "learning_layers": learning_layers(training, phases),
        "frozen_prefix": phases[-1]["frozen_prefix"],
        "batchnorm": {
            "asked": settings.batchnorm,
            "used": last.batchnorm,
            "layers": len(last.learning),
            "names": last.learning,
        },
        "phases": phases,
        **settings.objective.as_json(training.labels.classes, training.class_weight),
        "learning_rate": phases[-1]["learning_rate"],
        "batch_size": settings.batch_size,
        "activations": settings.activations,
        "views": settings.views,
        "seed": settings.seed,
        "early_stopping": settings.patience,
        "plateau_patience": settings.plateau_patience,
        "epochs_asked": sum(phase.epochs for phase in settings.phases),
        "epochs_run": len(state.history),
        "epoch_chosen": state.chosen,
        "watched": "val_loss_recalibrated" if last.batchnorm == "recalibrate" else "val_loss",
        "steps_per_epoch": math.ceil(len(training.labels.rows("train")) / settings.batch_size),
    }


def learning_layers(training: Training, phases: Sequence[dict[str, Any]]) -> list[str]:
    """The layers with weights that learned in some phase: those of the head, and what was unfrozen."""
    frozen = {*training.backbone_layers, "pixels"}.difference(*(phase["unfrozen_layers"] for phase in phases))
    return [layer.name for layer in training.network.layers if layer.weights and layer.name not in frozen]


def tell_phase(training: Training, number: int) -> dict[str, Any]:
    """What was asked of one phase, and what it came to."""
    phase, outline, found = training.settings.phases[number], training.outline(number), training.state.found.get(str(number))
    depth = len(graph.part(training.network, [], outline.cut).layers) if outline.cut else 0
    return {
        **dataclasses.asdict(phase),
        **[*training.state.ended, training.state.told()][number],
        "unfrozen_layers": outline.unfrozen,
        "frozen_prefix": {"cut": outline.cut, "layers": depth} if outline.cut else None,
        "learning_rate": found["learning_rate"] if found else phase.learning_rate,
        "finder": found,
    }


def write_history(path: Path, history: Sequence[Row]) -> None:
    """One row an epoch, every number in the fewest digits that give it back exactly; blank where a phase has no such."""
    columns = {column: None for row in history for column in row if column != "learning_rate"}
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*columns, "learning_rate"], restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(history)
