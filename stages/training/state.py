"""How far a training has come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from numpy.typing import NDArray

from stages.network.batchnorm import Statistics

Row = dict[str, float]
Arrays = list[NDArray[Any]]


@dataclass
class State:
    """What the loop knows after an epoch; the weights themselves are in the network and its optimizer."""

    phase: int = 0  # number of the phase that is under way, from 0
    began: int = 0  # epochs that were over when it began
    history: list[Row] = field(default_factory=list)
    chosen: int = 0  # the phase's best epoch so far, by the watched loss; the last one where nothing stops early
    best: float = math.inf
    weights: Arrays | None = None  # of the chosen epoch, where it is not simply the last one
    statistics: Statistics = field(default_factory=dict)  # re-estimated, of the chosen epoch
    plateau: dict[str, float] = field(default_factory=dict)  # of the schedule that waits for the watched loss
    found: dict[str, dict[str, Any]] = field(default_factory=dict)  # phase -> what its learning-rate finder found
    ended: list[dict[str, int]] = field(default_factory=list)  # what phases that are over came to

    def begin(self, phase: int) -> None:
        """Forget what belonged to the phase before, but for what is told of it."""
        self.ended.append(self.told())
        self.phase, self.began, self.chosen, self.best = phase, len(self.history), 0, math.inf
        self.weights, self.statistics, self.plateau = None, {}, {}

    def told(self) -> dict[str, int]:
        """What the phase that is under way has come to."""
        return {"first_epoch": self.began + 1, "epochs_run": len(self.history) - self.began, "epoch_chosen": self.chosen}


def values(variables: Sequence[keras.Variable]) -> Arrays:
    """The variables' values in memory of their own."""
    return [variable.numpy() for variable in variables]


def assign(variables: Sequence[keras.Variable], arrays: Sequence[NDArray[Any]]) -> None:
    """Give the variables these values."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
