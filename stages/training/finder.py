"""The learning-rate range test (Smith 2015, arXiv 1506.01186, section 3.3), with a rate that grows exponentially.

From the weights as they are, every step takes a higher rate than the one before. First nothing happens, then the loss
falls, then training diverges. The rate that is chosen is in the middle of the longest fall of the smoothed loss, as fastai's
rule "valley" has it. The rate with the lowest loss would say less: images that are learned at lower rates stay learned, and a
loss that begins far above that of guessing comes down to it at rates that destroy the network too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from kpipe.stage import StageError
from stages.network import head
from stages.training import state as states
from stages.training.batches import Batches
from stages.training.fitting import fit
from stages.training.schedule import Rate

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
BEGINNING = 10  # steps whose rates are too low to change the loss: how much it varies from batch to batch by itself
SMOOTHING = 0.9  # of the running mean of the loss; what it lacks at its beginning is corrected for, as in Adam
FALLEN = 0.95  # of the fall, where it ends: in what is left the running mean catches up with a loss that falls no more
DIVERGED = 4.0  # times the lowest smoothed loss: no need to go on


@dataclass(frozen=True)
class Found:
    """A curve, and what was chosen by it."""

    learning_rate: float  # two significant digits
    falls: list[float]  # the rates between which the smoothed loss falls
    rates: list[float]
    losses: list[float]  # smoothed

    def as_json(self) -> dict[str, Any]:
        """For training.json and the checkpoint."""
        return asdict(self)


class Losses(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """The loss of every step that was taken, until one is not finite or training has diverged.

    In float16 Keras leaves out a step whose gradients are not finite, and takes its rate again.
    """

    def __init__(self, progress: Callable[..., None]) -> None:
        super().__init__()
        self.progress = progress
        self.losses: list[float] = []
        self.total = 0.0  # of the losses of all batches

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keras gives the mean of all steps of the epoch so far; all of them have as many images."""
        mean = float((logs or {})["loss"])
        loss, self.total = (batch + 1) * mean - self.total, (batch + 1) * mean
        self.progress(batch + 1, STEPS, doing="learning rate")
        optimizer = self.model.optimizer
        taken = int(keras.ops.convert_to_numpy(getattr(optimizer, "inner_optimizer", optimizer).iterations))
        if math.isfinite(mean) and taken == len(self.losses):
            return
        self.losses.append(loss)
        smoothed = smooth(self.losses)
        if not math.isfinite(mean) or (len(smoothed) > BEGINNING and smoothed[-1] > DIVERGED * min(smoothed)):
            self.model.stop_training = True


def find(
    batches: Batches,
    variables: Sequence[keras.Variable],
    build: Callable[[Rate], object],
    class_weight: dict[int, float] | None,
    progress: Callable[..., None],
) -> Found:
    """Train on growing rates, then give `variables` their values back; StageError where no rate lowers the loss.

    `build` compiles the model that `batches` feed, for a rate. Its optimizer is nothing to go on with: compile again.
    """
    before = states.values(variables)
    build(keras.optimizers.schedules.ExponentialDecay(LOWEST, STEPS - 1, HIGHEST / LOWEST))
    seen = Losses(progress)
    with head.logits(batches.feed.model):
        fit(batches.feed.model, drawn(batches), callbacks=[seen], class_weight=class_weight)
    states.assign(variables, before)
    return choose(seen.losses)


def told(found: Mapping[str, Any]) -> str:
    """What was found, in a sentence."""
    low, high = found["falls"]
    return (
        f"learning rate {found['learning_rate']:g} was found, in the middle of {low:.1g} to {high:.1g}, where the smoothed "
        f"loss falls (from {found['losses'][0]:.3g} to {min(found['losses']):.3g})"
    )


def drawn(batches: Batches) -> Batches:
    """As many batches of one size as there are steps, from the same images, in an order that training does not use."""
    size = min(batches.batch_size, len(batches.rows))
    found = Batches(batches.feed, batches.labels, np.resize(batches.rows, STEPS * size), size, batches.seed)
    found.start(0)
    return found


def choose(losses: Sequence[float]) -> Found:
    """The rate by the losses of the steps; StageError where none is a rate to learn with.

    Smoothed, the loss must fall below its mean at the beginning by more than its standard deviation there.
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    rates = [LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1)) for step in range(len(finite))]
    if len(losses) <= BEGINNING and len(finite) == len(losses):
        raise StageError(
            f"no learning rate was found: only {len(losses)} of {STEPS} steps were taken",
            hint="unset KERAS_MAX_STEPS_PER_EPOCH, or give learning_rate a number",
        )
    if len(finite) <= BEGINNING:
        raise StageError(
            f"no learning rate was found: the loss is not finite from step {len(finite) + 1} on",
            hint="look at the scaling of the pixels, or give learning_rate a number",
        )
    smoothed, beginning = smooth(finite), finite[:BEGINNING]
    lowest = int(np.argmin(smoothed))
    if not smoothed[lowest] < np.mean(beginning) - np.std(beginning, ddof=1):
        raise StageError(
            f"no learning rate was found: from {LOWEST:g} to {rates[-1]:.2g} the loss does not fall "
            f"(first {np.mean(beginning):.3g}, at best {smoothed[lowest]:.3g})",
            hint="give learning_rate a number, or a larger batch_size, with which the loss varies less from batch to batch",
        )
    start, end = longest_fall(smoothed)
    return Found(float(f"{rates[(start + end) // 2]:.1e}"), [rates[start], rates[end]], rates, smoothed)


def longest_fall(losses: Sequence[float]) -> tuple[int, int]:
    """The first and last step of the longest fall.

    The longest falling subsequence ends it, as many steps after its beginning as it is long; where most of the way from the
    highest loss between these down to the last one is done earlier, the fall ends there.
    """
    lengths = [0] * len(losses)
    for i, loss in enumerate(losses):
        lengths[i] = 1 + max((lengths[j] for j in range(i) if losses[j] > loss), default=0)
    last = lengths.index(max(lengths))
    start = last - max(lengths) + 1
    highest = max(range(start, last + 1), key=lambda step: losses[step])
    enough = losses[highest] - FALLEN * (losses[highest] - losses[last])
    return start, next((step for step in range(highest, last) if losses[step] <= enough), last)


def smooth(losses: Sequence[float]) -> list[float]:
    """The exponential running mean, corrected for its beginning."""
    mean, found = 0.0, []
    for step, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        found.append(mean / (1 - SMOOTHING**step))
    return found
