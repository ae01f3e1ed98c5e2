"""The file from which a training goes on after a crash, written while the next epoch is under way."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import keras
import numpy as np

from stages.training.state import Arrays, State, values

NAME = "checkpoint.npy"
SHARE = 0.1  # of the time, that training may wait for copies of its weights
Snapshot = tuple[str, Arrays]  # the state as JSON, and every array


class Checkpoint:
    """One file, replaced as a whole: the state as JSON, then arrays, each as numpy writes it.

    A thread writes it. Where epochs end faster than their weights are copied or written, on a GPU, some are left out: what a
    kill can lose is some seconds. On leaving the `with` block the newest is written, also after an exception; OSError where
    one was not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.newest: deque[Snapshot] = deque(maxlen=1)
        self.thread = ThreadPoolExecutor(1, "checkpoint")
        self.writing: list[Future[None]] = []
        self.next = 0.0  # the time from which on the next one is kept

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.thread.shutdown()
        if error is None:
            self.refuse_failed()

    def refuse_failed(self) -> None:
        """OSError where a write that is over has failed."""
        over = [task for task in self.writing if task.done()]
        self.writing = [task for task in self.writing if task not in over]
        for task in over:
            task.result()

    def keep(self, state: State, variables: Sequence[keras.Variable], optimizer: Sequence[keras.Variable]) -> None:
        """Keep the state, the values of the variables that may have changed, and the optimizer's, as they are now."""
        self.refuse_failed()
        if (began := time.monotonic()) < self.next:
            return
        self.newest.append(snapshot(state, values(variables), values(optimizer)))
        self.writing.append(self.thread.submit(self.write))
        self.next = began + (time.monotonic() - began) / SHARE

    def write(self) -> None:
        """Write the newest snapshot, if an earlier call has not."""
        try:
            told, arrays = self.newest.popleft()
        except IndexError:
            return
        draft = self.path.with_suffix(".draft")
        with draft.open("wb") as file:
            np.save(file, np.frombuffer(told.encode(), np.uint8))
            for array in arrays:
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


def snapshot(state: State, variables: Arrays, optimizer: Arrays) -> Snapshot:
    """What is to be written. The state changes while it waits, the arrays do not."""
    kept = state.weights or []
    statistics = [array for pair in state.statistics.values() for array in pair]
    told = {
        "phase": state.phase, "began": state.began, "history": state.history, "chosen": state.chosen, "best": state.best,
        "plateau": state.plateau, "found": state.found, "ended": state.ended,
        "statistics": list(state.statistics), "kept": state.weights is not None,
        "arrays": [len(variables), len(optimizer), len(kept), len(statistics)],
    }  # fmt: skip
    return json.dumps(told), [*variables, *optimizer, *kept, *statistics]
