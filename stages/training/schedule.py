"""How the learning rate changes in the course of a phase: Keras's own schedules, and a warm-up before those that have none."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from stages.training.phases import Phase

Schedule = keras.optimizers.schedules.LearningRateSchedule
Rate = Any  # a float, or a Schedule: keras has no types
DROPS = (0.5, 0.75)  # of "step": the shares of the steps after which the rate is a tenth of what it was (He et al. 2016, 4.2)
FACTOR = 0.1  # by which "step" and "plateau" lower the rate


def schedule(phase: Phase, rate: float, steps: int) -> Rate:
    """The rate of every step of a phase, counted from 0, without what "plateau" does; `steps` are those of an epoch.

    "constant" and "plateau" are `rate`; "cosine" falls to 0 along half a cosine (Loshchilov & Hutter 2016, without
    restarts); "step" falls to a tenth at half and again at three quarters. A warm-up rises from 0 in a straight line
    (Goyal et al. 2017); what is told of the schedule then holds for the steps after it.
    """
    warmup = min(round(phase.warmup * steps), phase.epochs * steps - 1)
    left = phase.epochs * steps - warmup
    if phase.schedule == "cosine":
        if not warmup:
            return keras.optimizers.schedules.CosineDecay(rate, left)
        return keras.optimizers.schedules.CosineDecay(0.0, left, warmup_target=rate, warmup_steps=warmup)
    after: Rate = rate
    if phase.schedule == "step":
        last = [max(round(share * left), 1) - 1 for share in DROPS]  # steps: Keras changes the value after a boundary
        values = [rate * FACTOR**drops for drops in range(len(DROPS) + 1)]
        after = keras.optimizers.schedules.PiecewiseConstantDecay(last, values)
    return Warmup(rate, warmup, after) if warmup else after


class Warmup(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # keras has no types
    """From 0 to `rate` in `steps` steps, then `after`, as if it began there."""

    def __init__(self, rate: float, steps: int, after: Rate) -> None:
        super().__init__()
        self.rate = rate
        self.steps = steps
        self.after = after

    def __call__(self, step: Any) -> Any:
        """The rate of a step: a float32 scalar."""
        ops = keras.ops
        step = ops.convert_to_tensor(step)
        share = ops.cast(step, "float32") / self.steps
        after = self.after(ops.maximum(step - self.steps, 0)) if isinstance(self.after, Schedule) else self.rate
        return ops.where(step < self.steps, share * self.rate, after)

    def get_config(self) -> dict[str, Any]:
        """As Keras asks of a schedule."""
        return {"rate": self.rate, "steps": self.steps, "after": self.after}


class Scaled(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A rate times a variable, which can be changed between epochs without compiling anything anew."""

    def __init__(self, rate: Rate, scale: keras.Variable) -> None:
        super().__init__()
        self.rate = rate
        self.scale = scale

    def __call__(self, step: Any) -> Any:
        """The rate of a step: a float32 scalar."""
        rate = self.rate(step) if isinstance(self.rate, Schedule) else self.rate
        return keras.ops.multiply(rate, self.scale)

    def get_config(self) -> dict[str, Any]:
        """As Keras asks of a schedule; the variable is one of the optimizer's."""
        return {"rate": self.rate}


class Plateau:
    """Lowers the rate where the watched loss has not fallen for `patience` epochs: Keras's ReduceLROnPlateau.

    That callback sees an optimizer whose learning rate is the variable of a Scaled. What it remembers is in `state`.
    """

    def __init__(self, patience: int, scale: keras.Variable, state: dict[str, float]) -> None:
        self.scale = scale
        self.callback = keras.callbacks.ReduceLROnPlateau("watched", factor=FACTOR, patience=patience, mode="min")
        self.callback.set_model(self)
        self.callback.best, self.callback.wait = state.get("best"), int(state.get("wait", 0))

    @property
    def optimizer(self) -> Plateau:
        """What the callback takes for a model's optimizer."""
        return self

    @property
    def learning_rate(self) -> float:
        """What the callback takes for the optimizer's rate."""
        return float(keras.ops.convert_to_numpy(self.scale))

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.scale.assign(value)

    def after_epoch(self, epoch: int, watched: float) -> dict[str, float]:
        """Look at the loss of an epoch that is over; returns what has to be remembered."""
        self.callback.on_epoch_end(epoch - 1, {"watched": watched})
        return {"best": float(self.callback.best), "wait": float(self.callback.wait)}


def rate_at(rate: Rate, step: int) -> float:
    """The rate of a step of the phase, in the fewest digits that give its float32 back."""
    if not isinstance(rate, Schedule):
        return float(rate)
    return float(str(np.float32(keras.ops.convert_to_numpy(rate(step)))))
