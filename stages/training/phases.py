"""A training in phases: each with its own layers that learn, its own frozen prefix and its own learning rates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from kpipe.stage import StageError

Unfreeze = int | Literal["all"]


@dataclass(frozen=True)
class Phase:
    """So many epochs in which the backbone's last `unfreeze` layers learn, and how fast they do."""

    unfreeze: Unfreeze
    epochs: int
    learning_rate: float | Literal["find"]
    schedule: str = "constant"
    warmup: float = 0.0  # epochs in which the rate rises to `learning_rate`
    layer_decay: float = 1.0


def read(own: Phase, tables: Sequence[Mapping[str, Any]] | None, defaults: Mapping[str, Any]) -> list[Phase]:
    """One phase a table, what it leaves out taken from the stage's `own` values; without tables, those alone.

    StageError where an own value that is not the default would have no effect, since every table gives another.
    """
    if tables is None:
        return [own]
    if not tables:
        raise StageError("phases = [] has no phase", hint="leave phases out, or give it a table: phases = [{ epochs = 10 }]")
    asked = {name: value for name, value in asdict(own).items() if value != defaults[name]}
    useless = [name for name, value in asked.items() if all(name in table and table[name] != value for table in tables)]
    if useless:
        raise StageError(
            f"{', '.join(f'{name} = {json.dumps(asked[name])}' for name in useless)} and phases contradict each other: "
            "every phase says its own",
            hint=f"leave {', '.join(useless)} out: the stage's values are for phases that do not say their own",
        )
    return [replace(own, **table) for table in tables]


def check(phases: Sequence[Phase], patience: int, early_stopping: int) -> None:
    """StageError where a phase is over before its schedule does anything.

    `patience` is that of "plateau"; `early_stopping` ends a phase after so many epochs without a better validation loss.
    """
    for phase in phases:
        if phase.warmup >= phase.epochs:
            raise StageError(
                f"warmup = {phase.warmup:g}: the rate would rise through the phase's {phase.epochs} epochs to their end",
                hint=f"give fewer than {phase.epochs} epochs of warmup",
            )
        if phase.schedule == "plateau" and phase.epochs < patience + 2:
            raise StageError(
                f"plateau_patience = {patience} lowers no rate in {phase.epochs} epochs: the first sets the loss that {patience} "
                "others have to better, and a lower rate is for those after them",
                hint=f"give epochs = {patience + 2} or more, or a smaller plateau_patience",
            )
        if phase.schedule == "plateau" and 0 < early_stopping <= patience:
            raise StageError(
                f"early_stopping = {early_stopping} ends training before plateau_patience = {patience} lowers the rate",
                hint=f"early_stopping = {2 * patience + 1}, or a smaller plateau_patience",
            )


def deepest(phases: Sequence[Phase]) -> Unfreeze:
    """The most that any of the phases lets learn: what lies below has its first weights still."""
    asked = [phase.unfreeze for phase in phases]
    return "all" if "all" in asked else max(number for number in asked if number != "all")
