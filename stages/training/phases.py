"""A training in phases: each with its own layers that learn, its own frozen prefix and its own learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Unfreeze = int | Literal["all"]


@dataclass(frozen=True)
class Phase:
    """So many epochs in which the backbone's last `unfreeze` layers learn."""

    unfreeze: Unfreeze
    epochs: int
    learning_rate: float


def deepest(phases: Sequence[Phase]) -> Unfreeze:
    """The most that any of the phases lets learn: what lies below has its first weights still."""
    asked = [phase.unfreeze for phase in phases]
    return "all" if "all" in asked else max(number for number in asked if number != "all")
