"""The training loop of one phase: Keras fits an epoch at a time; between epochs validation is measured, the best epoch kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import StageError
from stages.network import batchnorm, head
from stages.network.feed import Feed
from stages.network.scores import of_logits
from stages.training import state as states
from stages.training.batches import Batches
from stages.training.checkpoint import Checkpoint
from stages.training.fitting import fit_epoch
from stages.training.phases import Phase
from stages.training.schedule import Plateau, Rate, rate_at
from stages.training.state import Row, State
from stages.training.times import Times
from stages.training.watch import NotFinite, Watch

Progress = Callable[..., None]


@dataclass(frozen=True)
class Validation:
    """What is measured after every epoch."""

    feed: Feed
    rows: NDArray[np.int64]
    labels: NDArray[np.int32]

    def measure(self, epoch: int) -> tuple[float, float]:
        """Loss and accuracy in inference mode, of logits as in training: early stopping sees a loss that still falls."""
        feed = self.feed.at(epoch)
        with head.logits(feed.model):
            return of_logits(feed.predict(self.rows), self.labels[self.rows])


@dataclass(frozen=True)
class Recalibration:
    """How the statistics of unfrozen BatchNormalization layers are re-estimated: on `rows` of `feed`."""

    feed: Feed
    mode: batchnorm.BatchMode
    rows: NDArray[np.int64]
    batch_size: int

    def estimate(self) -> batchnorm.Statistics:
        """The statistics for the weights as they are now."""
        return batchnorm.estimate(self.mode, self.feed, self.rows, self.batch_size)


@dataclass(frozen=True)
class Course:
    """One phase, ready to be fitted: `batches.feed.model` is compiled and shares its layers with `network`."""

    network: keras.Model
    batches: Batches
    validation: Validation
    recalibration: Recalibration | None
    variables: list[keras.Variable]  # all whose values may differ from those that training began with
    phase: Phase
    number: int | None  # of the phase, from 1; None where it is the only one
    rate: Rate  # what the optimizer follows
    plateau: Plateau | None
    class_weight: dict[int, float] | None
    epochs: int  # of all phases
    patience: int
    progress: Progress

    @property
    def model(self) -> keras.Model:
        """What Keras fits."""
        return self.batches.feed.model

    @property
    def watched(self) -> str:
        """The column of the history by which the best epoch is found."""
        return "val_loss_recalibrated" if self.recalibration else "val_loss"

    def finished(self, state: State) -> bool:
        """Whether its epochs are over, or the watched loss has not fallen for too many of them."""
        done = len(state.history)
        return done - state.began >= self.phase.epochs or bool(
            self.patience and state.chosen and done - state.chosen >= self.patience
        )


def fit(course: Course, state: State, times: Times, checkpoint: Checkpoint) -> None:
    """Fit the phase from where `state` is to its end, and leave the chosen epoch's weights in the network.

    With patience > 0 training stops when the watched loss has not fallen for so many epochs, and the best epoch is
    chosen; else the last one. With recalibration the watched loss is the one on re-estimated statistics; training goes
    on with the moving ones, the chosen weights keep the re-estimated ones. StageError where the loss is not finite.
    """
    while not course.finished(state):
        epoch = len(state.history) + 1
        row = train_epoch(course, epoch, times)
        with times.part("validation"):
            statistics = measure_epoch(course, epoch, row)
        row["learning_rate"] = rate_at(course.rate, int(keras.ops.convert_to_numpy(course.model.optimizer.iterations)) - 1)
        refuse_not_finite(row)
        state.history.append(row)
        if course.patience == 0 or row[course.watched] < state.best:
            state.best, state.chosen, state.statistics = row[course.watched], epoch, statistics
            state.weights = states.values(course.variables) if course.patience else None
        if course.plateau:
            state.plateau = course.plateau.after_epoch(epoch, row[course.watched])
        checkpoint.keep(state, course.variables, course.model.optimizer.variables)
    if state.weights is not None:
        states.assign(course.variables, state.weights)
    batchnorm.assign(course.network, state.statistics)


def train_epoch(course: Course, epoch: int, times: Times) -> Row:
    """One epoch of Keras's own fit on our batches: loss and accuracy as Keras averages them over the epoch's steps."""
    batches, model = course.batches, course.model
    batches.start(epoch)
    steps = len(batches)
    report = lambda step, **logs: course.progress((epoch - 1) * steps + step, course.epochs * steps, **logs)  # noqa: E731
    watch = Watch(epoch, steps, report)
    try:
        with head.logits(model):
            means = fit_epoch(model, batches, [watch], class_weight=course.class_weight)
    except NotFinite:
        raise StageError(
            f"the loss is not a finite number any more, in epoch {epoch}, step {min(watch.failed)} of {steps}",
            hint="lower learning_rate, or look at the scaling of the pixels",
        ) from None
    times.epoch((course.number or 1) - 1, watch.seconds, steps=steps, first_seconds=watch.first_step_seconds)
    phase = {} if course.number is None else {"phase": course.number}
    return {"epoch": epoch, **phase, "loss": means["loss"], "accuracy": means["accuracy"]}


def measure_epoch(course: Course, epoch: int, row: Row) -> batchnorm.Statistics:
    """Add validation to the epoch's row, on both kinds of statistics where they are re-estimated; returns those."""
    row["val_loss"], row["val_accuracy"] = course.validation.measure(epoch)
    if course.recalibration is None:
        return {}
    estimated = course.recalibration.estimate()
    with batchnorm.holding(course.network, estimated):
        row["val_loss_recalibrated"], row["val_accuracy_recalibrated"] = course.validation.measure(epoch)
    return estimated


def refuse_not_finite(row: Row) -> None:
    """StageError where the last step of an epoch left weights that give no finite loss."""
    broken = [name for name, value in row.items() if not math.isfinite(value)]
    if broken:
        raise StageError(f"{broken[0]} is not a finite number after epoch {row['epoch']}", hint="lower learning_rate")
