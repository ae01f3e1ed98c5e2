"""How far a training has come, and the file from which it goes on after a crash."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from stages.network.batchnorm import Statistics

Row = dict[str, float]
Arrays = list[NDArray[Any]]
NAME = "checkpoint.npy"


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


@dataclass(frozen=True)
class Checkpoint:
    """One file, replaced as a whole after every epoch: the state as JSON, then arrays, each as numpy writes it."""

    path: Path

    def write(self, state: State, variables: Arrays, optimizer: Arrays) -> None:
        """Keep the state, the values of the variables that may have changed, and the optimizer's."""
        kept = state.weights or []
        statistics = [array for pair in state.statistics.values() for array in pair]
        told = {
            "phase": state.phase, "began": state.began, "history": state.history, "chosen": state.chosen, "best": state.best,
            "plateau": state.plateau, "found": state.found, "ended": state.ended,
            "statistics": list(state.statistics), "kept": state.weights is not None,
            "arrays": [len(variables), len(optimizer), len(kept), len(statistics)],
        }  # fmt: skip
        draft = self.path.with_suffix(".draft")
        with draft.open("wb") as file:
            np.save(file, np.frombuffer(json.dumps(told).encode(), np.uint8))
            for array in (*variables, *optimizer, *kept, *statistics):
                np.save(file, array)
        os.replace(draft, self.path)

    def read(self) -> tuple[State, Arrays, Arrays] | None:
        """What was kept: state, variables, optimizer. None where there is nothing; ValueError where it is damaged."""
        if not self.path.exists():
            return None
        try:
            with self.path.open("rb") as file:
                told = json.loads(np.load(file).tobytes())
                variables, optimizer, kept, pairs = ([np.load(file) for _ in range(n)] for n in told["arrays"])
        except (OSError, ValueError, EOFError, KeyError) as e:
            raise ValueError(f"{self.path.name} is damaged: {e}") from None
        names = ("phase", "began", "history", "chosen", "best", "plateau", "found", "ended")
        state = State(**{name: told[name] for name in names})
        state.weights = kept if told["kept"] else None
        state.statistics = dict(zip(told["statistics"], zip(pairs[::2], pairs[1::2], strict=True), strict=True))
        return state, variables, optimizer
