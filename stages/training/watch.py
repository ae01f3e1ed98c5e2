"""What is seen of an epoch while Keras fits it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import keras


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

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.perf_counter() - self.began

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
