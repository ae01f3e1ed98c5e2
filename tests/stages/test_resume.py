"""A training that is cut off goes on after its last finished epoch and ends with the same bytes as an undisturbed one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kpipe.stage import Stage
from stages import train
from stages.training import checkpoint
from stages.training.checkpoint import NAME, Checkpoint
from stages.training.state import State
from tests.stages import tiny

pytestmark = pytest.mark.cpu


@pytest.fixture(autouse=True)
def every_epoch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SHARE", math.inf)


class CutOff(BaseException):
    """What stands for a kill: nothing handles it."""


class Watched(Stage):
    """A stage that is cut off in the middle of an epoch, and counts the steps it is told of."""

    cut_off_in: int | None = None
    epochs: set[float]

    def progress(self, done: float, total: float, **numbers: float | str) -> None:
        if "epoch" in numbers:
            self.epochs.add(float(numbers["epoch"]))
            if numbers["epoch"] == self.cut_off_in:
                raise CutOff


def attempt(run: tiny.Run, name: str, cut_off_in: int | None, **settings: Any) -> Watched:
    stage = Watched(inputs=dict(run.inputs), out=run.folder / name, scratch=run.folder / "scratch", store=run.folder / "store")
    stage.cut_off_in, stage.epochs = cut_off_in, set()
    if cut_off_in is None:
        train.run(stage, **settings)
        return stage
    with pytest.raises(CutOff):
        train.run(stage, **settings)
    return stage


TRAININGS: list[dict[str, Any]] = [
    {"unfreeze": 4, "epochs": 5, "pooling": "flatten", "units": 8, "dropout": 0.3, "batchnorm": "train"},
    {"unfreeze": "all", "epochs": 5, "batch_size": 16, "dropout": 0.3},
    {"unfreeze": 0, "epochs": 6, "learning_rate": 0.5, "early_stopping": 2},
    {"unfreeze": 4, "epochs": 6, "learning_rate": 0.1, "early_stopping": 2, "optimizer": "sgd"},
    {"phases": [{"epochs": 2}, {"unfreeze": 4, "epochs": 3, "schedule": "cosine", "warmup": 0.5}], "dropout": 0.3},
    {"phases": [{"unfreeze": "all", "epochs": 3}, {"epochs": 2}], "learning_rate": "find", "batch_size": 16, "units": 8},
    {"epochs": 6, "schedule": "plateau", "plateau_patience": 1, "learning_rate": 3.0, "optimizer": "rmsprop", "warmup": 0.5},
    {"epochs": 5, "schedule": "step", "layer_decay": 0.7, "unfreeze": 4, "optimizer": "adamw", "label_smoothing": 0.1},
]


QUICK = 1  # of these; each of the others takes as long or longer


@pytest.mark.parametrize("settings", [*TRAININGS[:QUICK], *(pytest.param(t, marks=pytest.mark.slow) for t in TRAININGS[QUICK:])])
def test_training_cut_off_in_an_epoch_ends_with_the_same_bytes(tmp_path: Path, settings: dict[str, Any]) -> None:
    run = tiny.start(tmp_path)
    undisturbed = tiny.content(run.run("train", train.run, **settings))
    attempt(run, "first", 2, **settings)
    attempt(run, "second", 4, **settings)
    tiny.network(3)  # names and random numbers that must not matter
    last = attempt(run, "third", None, **settings)
    assert min(last.epochs) == 4
    assert tiny.content(last.out) == undisturbed
    assert last.notices[0] == "training was cut off, and went on after epoch 3"
    assert all("was found" in notice for notice in last.notices[1:])


@pytest.mark.slow
def test_damaged_checkpoint_is_said_and_training_begins_anew(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    settings: dict[str, Any] = {"epochs": 3, "units": 8}
    undisturbed = tiny.content(run.run("train", train.run, **settings))
    attempt(run, "first", 3, **settings)
    kept = run.folder / "scratch" / NAME
    kept.write_bytes(kept.read_bytes()[:-100])
    last = attempt(run, "second", None, **settings)
    assert min(last.epochs) == 1 and tiny.content(last.out) == undisturbed
    assert "checkpoint.npy is damaged" in last.notices[0] and "begins anew" in last.notices[0]


@pytest.mark.slow
def test_rate_that_was_found_is_not_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny.start(tmp_path)
    settings: dict[str, Any] = {"phases": [{"epochs": 2, "learning_rate": 0.01}, {"unfreeze": "all", "epochs": 2}]}
    settings |= {"learning_rate": "find", "batch_size": 16}
    undisturbed = tiny.content(run.run("train", train.run, **settings))
    attempt(run, "first", 3, **settings)  # the second phase's first epoch: after the search, before any checkpoint of an epoch
    monkeypatch.setattr("stages.training.finder.find", None)
    last = attempt(run, "second", None, **settings)
    assert min(last.epochs) == 3
    assert tiny.content(last.out) == undisturbed
    assert "phase 2: learning rate" in last.notices[1]


def kept(folder: Path, epochs: int, share: float, monkeypatch: pytest.MonkeyPatch) -> int:
    """The epoch that is on the disk when so many have ended, one right after the other, and copying takes a second of each."""
    clock = iter(range(1000))
    monkeypatch.setattr(checkpoint, "SHARE", share)
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: float(next(clock)))
    weights, state = [keras.Variable(np.zeros(3))], State()
    with Checkpoint(folder / NAME) as file:
        for epoch in range(1, epochs + 1):
            state.history.append({"epoch": epoch})
            weights[0].assign(np.full(3, epoch))
            file.keep(state, weights, [])
    found = Checkpoint(folder / NAME).read()
    assert found is not None
    assert found[1][0].tolist() == [len(found[0].history)] * 3  # the state and the weights are those of the same epoch
    return len(found[0].history)


def test_epochs_that_are_shorter_than_their_copies_are_not_all_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept(tmp_path, 7, math.inf, monkeypatch) == 7
    assert kept(tmp_path, 7, 0.5, monkeypatch) == 7
    assert kept(tmp_path, 7, 0.2, monkeypatch) == 5
    assert kept(tmp_path, 7, 0.01, monkeypatch) == 1


def test_disk_that_is_full_ends_training(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.draft").mkdir()  # nothing can be written there
    with pytest.raises(IsADirectoryError), Checkpoint(tmp_path / NAME) as file:
        file.keep(State(), [], [])
