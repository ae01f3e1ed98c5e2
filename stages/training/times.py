"""Where the seconds of a training go."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Times:
    """What this process spent; what a crash cut off is not in it."""

    def __init__(self) -> None:
        self.parts: defaultdict[str, float] = defaultdict(float)
        self.epochs: list[float] = []  # of fitting alone, without validation
        self.first_step = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the block as (more of) this part."""
        began = time.perf_counter()
        yield
        self.parts[name] += time.perf_counter() - began

    def told(self, images: int) -> dict[str, float]:
        """Measures of the stage. An epoch is the fastest one: the first one compiles."""
        epoch = min(self.epochs, default=0.0)
        return {
            **{f"{name}_seconds": seconds for name, seconds in self.parts.items()},
            "epoch_seconds": epoch,
            "first_step_seconds": self.first_step,
            "images_per_second": images / epoch if epoch else 0.0,
        }
