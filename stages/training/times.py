"""Where the seconds of a training go."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Fitting:
    """The epochs of one phase that this process fitted, without validation."""

    steps: int  # of an epoch
    first_seconds: float  # from the beginning of the first epoch until its first steps were done
    first_steps: int  # how many steps those were
    epochs: list[float] = field(default_factory=list)  # seconds of each

    @property
    def compile_seconds(self) -> float:
        """What the first epoch took longer than the fastest other one: every shape of a batch is compiled in it.

        Where it is the only one: what its first steps took longer than as many of the others; 0 where there are none.
        """
        if len(self.epochs) > 1:
            return max(self.epochs[0] - min(self.epochs[1:]), 0.0)
        others = self.steps - self.first_steps
        usual = (self.epochs[0] - self.first_seconds) / others if others else self.first_seconds
        return max(self.first_seconds - usual * self.first_steps, 0.0)


class Times:
    """What this process spent; what a crash cut off is not in it."""

    def __init__(self) -> None:
        self.parts: defaultdict[str, float] = defaultdict(float)
        self.fitted: dict[int, Fitting] = {}  # by the number of the phase, from 0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the block as (more of) this part."""
        began = time.perf_counter()
        yield
        self.parts[name] += time.perf_counter() - began

    def epoch(self, phase: int, seconds: float, *, steps: int, first_seconds: float, first_steps: int = 1) -> None:
        """Note an epoch of a phase; `first_seconds` are those until its first report, after `first_steps`."""
        self.fitted.setdefault(phase, Fitting(steps, first_seconds, first_steps)).epochs.append(seconds)

    def told(self, images: int) -> dict[str, float]:
        """Measures of the stage. An epoch is the fastest one of the last phase: the first one compiles."""
        fitted = list(self.fitted.values())
        compiling = sum(fitting.compile_seconds for fitting in fitted)
        epoch = min((seconds for fitting in fitted[-1:] for seconds in fitting.epochs), default=0.0)
        return {
            **{f"{name}_seconds": seconds for name, seconds in self.parts.items()},
            "compile_seconds": compiling,
            "step_seconds": sum(sum(fitting.epochs) for fitting in fitted) - compiling,
            "epoch_seconds": epoch,
            "first_step_seconds": fitted[0].first_seconds if fitted else 0.0,
            "images_per_second": images / epoch if epoch else 0.0,
        }
