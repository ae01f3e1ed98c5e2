"""The training loop: Keras fits one epoch at a time; between epochs validation is measured and the best epoch kept."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import StageError
from stages.network import batchnorm
from stages.network.batches import Batches
from stages.network.feed import Feed
from stages.network.scores import loss_and_accuracy

Row = dict[str, float]
Progress = Callable[..., None]


@dataclass(frozen=True)
class Validation:
    """What is measured after every epoch."""

    feed: Feed
    rows: NDArray[np.int64]
    labels: NDArray[np.int32]

    def measure(self, epoch: int) -> tuple[float, float]:
        """Loss and accuracy in inference mode."""
        return loss_and_accuracy(self.feed.at(epoch).predict(self.rows), self.labels[self.rows])


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


@dataclass
class Fitted:
    """What came out of the training loop; the network holds the weights of the chosen epoch."""

    history: list[Row] = field(default_factory=list)
    chosen: int = 0
    watched: str = "val_loss"
    epoch_seconds: list[float] = field(default_factory=list)  # fitting alone, without validation
    first_step_seconds: float = 0.0


def fit(
    network: keras.Model,
    batches: Batches,
    validation: Validation,
    recalibration: Recalibration | None,
    *,
    epochs: int,
    patience: int,
    progress: Progress,
) -> Fitted:
    """Train `batches.feed.model`, whose layers `network` shares, and leave the chosen epoch's weights in `network`.

    With `patience` > 0 training stops when the watched loss has not fallen for so many epochs, and the best epoch is
    chosen; else the last one. With `recalibration` the watched loss is the one on re-estimated statistics; training goes
    on with the moving ones, the chosen weights keep the re-estimated ones. StageError where the loss is not finite.
    """
    fitted = Fitted(watched="val_loss_recalibrated" if recalibration else "val_loss")
    best, kept = math.inf, None
    for epoch in range(1, epochs + 1):
        row = train_epoch(batches, epoch, epochs, fitted, progress)
        statistics = measure_epoch(network, epoch, row, validation, recalibration)
        refuse_not_finite(row)
        fitted.history.append(row)
        if patience == 0 or row[fitted.watched] < best:
            best, fitted.chosen = row[fitted.watched], epoch
            kept = (network.get_weights() if patience else None, statistics)
        if patience and epoch - fitted.chosen >= patience:
            break
    weights, statistics = kept or (None, {})
    if weights is not None:
        network.set_weights(weights)
    batchnorm.assign(network, statistics)
    return fitted


def train_epoch(batches: Batches, epoch: int, epochs: int, fitted: Fitted, progress: Progress) -> Row:
    """One epoch of Keras's own fit on our batches: loss and accuracy as Keras averages them over the epoch's steps."""
    batches.start(epoch)
    steps = len(batches)
    watch = Watch(epoch, steps, lambda step, **logs: progress((epoch - 1) * steps + step, epochs * steps, **logs))
    model = batches.feed.model
    try:
        model.fit(batches, initial_epoch=epoch - 1, epochs=epoch, shuffle=False, verbose=0, callbacks=[watch])
    except NotFinite:
        raise StageError(
            f"the loss is not a finite number any more, in epoch {epoch}, step {min(watch.failed)} of {steps}",
            hint="lower learning_rate, or look at the scaling of the pixels",
        ) from None
    fitted.epoch_seconds.append(time.perf_counter() - watch.began)
    fitted.first_step_seconds = fitted.first_step_seconds or watch.first_step_seconds
    history = model.history.history
    return {"epoch": epoch, "loss": float(history["loss"][-1]), "accuracy": float(history["accuracy"][-1])}


def measure_epoch(
    network: keras.Model, epoch: int, row: Row, validation: Validation, recalibration: Recalibration | None
) -> batchnorm.Statistics:
    """Add validation to the epoch's row, on both kinds of statistics where they are re-estimated; returns those."""
    row["val_loss"], row["val_accuracy"] = validation.measure(epoch)
    if recalibration is None:
        return {}
    moving = batchnorm.current(network, recalibration.mode.names)
    estimated = recalibration.estimate()
    batchnorm.assign(network, estimated)
    row["val_loss_recalibrated"], row["val_accuracy_recalibrated"] = validation.measure(epoch)
    batchnorm.assign(network, moving)
    return estimated


def refuse_not_finite(row: Row) -> None:
    """StageError where the last step of an epoch left weights that give no finite loss."""
    broken = [name for name, value in row.items() if not math.isfinite(value)]
    if broken:
        raise StageError(f"{broken[0]} is not a finite number after epoch {row['epoch']}", hint="lower learning_rate")


class NotFinite(Exception):
    """The loss is NaN or infinite."""


class Watch(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Reports progress, and raises NotFinite at the first step whose loss is not finite.

    `async_safe` lets Keras hand over the logs from another thread, so that no step waits for the one before it.
    """

    async_safe = True
    INTERVAL = 0.2  # seconds between two reports

    def __init__(self, epoch: int, steps: int, report: Callable[..., None]) -> None:
        super().__init__()
        self.epoch = epoch
        self.steps = steps
        self.report = report
        self.failed: list[int] = []
        self.first_step_seconds = 0.0
        self.began = self.reported = time.perf_counter()
        self.lock = threading.Lock()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keras gives the running mean of the epoch: not finite from the first step on that is not."""
        now, logs = time.perf_counter(), logs or {}
        with self.lock:
            self.first_step_seconds = self.first_step_seconds or now - self.began
            if not math.isfinite(logs["loss"]):
                self.failed.append(batch + 1)
                raise NotFinite
            elif now - self.reported > self.INTERVAL or batch + 1 == self.steps:
                self.reported = now
                self.report(batch + 1, epoch=self.epoch, loss=float(logs["loss"]), accuracy=float(logs["accuracy"]))
