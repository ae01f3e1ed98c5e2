"""Runs tasks in warm child processes of this machine: one a slot and backend. The only module that spawns."""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import IO, Any

from kpipe.errors import FULL
from kpipe.executors.environment import environment
from kpipe.task import Event, Task

GRACE_S = 5.0  # between asking a worker to stop and killing it
LOOK_S = 1.0  # between looks whether a worker is there: what it started may hold its end of the pipe open
HINTS = {
    "SIGKILL": "the kernel kills a process that takes too much memory: a smaller batch_size or image_size",
    "SIGBUS": FULL,  # a memory-mapped file had no room to grow into
}


class Worker:
    """A child process, the environment it was started for, and the task it has."""

    def __init__(self, kind: tuple[Any, ...], environment: Mapping[str, str]) -> None:
        self.kind = kind
        self.task: Task | None = None
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-m", "kpipe.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,  # Ctrl-C reaches kpipe alone, which then stops its workers in order
        )
        self.lines: IO[bytes] = self.process.stdout  # type: ignore[assignment]
        self._rest = b""
        os.set_blocking(self.lines.fileno(), False)

    def give(self, task: Task) -> None:
        """Hand over a task."""
        self.task = task
        stdin: IO[bytes] = self.process.stdin  # type: ignore[assignment]
        stdin.write(json.dumps(task.as_json()).encode() + b"\n")
        stdin.flush()

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """Whole lines that arrived, and whether the process closed its end."""
        try:
            chunk = os.read(self.lines.fileno(), 1 << 20)
        except BlockingIOError:
            return [], False
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in whole if line], not chunk

    def stop(self) -> None:
        """End the process and everything it started."""
        for sign, patience in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            try:
                self.process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):  # what it was not there to read
                    pipe.close()


class LocalExecutor:
    """Keeps a worker for the next task of its kind; one whose stage failed is thrown away."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._workers: list[Worker] = []
        self._selector = selectors.DefaultSelector()

    def submit(self, task: Task) -> None:
        """Start a task in an idle worker of its kind, or in a new one."""
        kind = (task.backend, task.gpus)
        idle = [w for w in self._workers if w.task is None]
        for worker in [w for w in idle if w.kind == kind and w.process.poll() is None]:
            try:
                worker.give(task)
                return
            except BrokenPipeError:  # somebody killed it while it had nothing to do
                self._drop(worker)
                idle.remove(worker)
        if len(self._workers) >= self.slots and idle:
            self._drop(idle[0])  # its memory, a GPU's above all, is for the one that works
        worker = Worker(kind, environment(task, self.slots))
        self._workers.append(worker)
        self._selector.register(worker.lines, selectors.EVENT_READ, worker)
        with contextlib.suppress(BrokenPipeError):  # it ended at once: wait() tells how
            worker.give(task)

    def wait(self, patience: float | None = None) -> list[Event]:
        """Block until a worker says something or ends, or patience (seconds) does."""
        events: list[Event] = []
        until = math.inf if patience is None else time.monotonic() + patience
        while not events:
            left = max(0.0, until - time.monotonic())
            ready = self._selector.select(min(LOOK_S, left))
            events += [event for key, _ in ready for event in self._drain(key.data)]
            gone = [w for w in self._workers if w.process.poll() is not None] if not ready else []
            events += [event for worker in gone for event in [*self._drain(worker), *self._ended(worker)]]
            if left <= LOOK_S and until < math.inf:
                break
        return events

    def _drain(self, worker: Worker) -> list[Event]:
        lines, closed = worker.read()
        events = []
        for line in lines:
            task = worker.task
            if task is None or line.pop("out") != task.out:  # said by a thread or a child of a stage that ended
                continue
            kind = line.pop("event")
            events.append(Event(task.id, kind, line))
            if kind == "done":
                worker.task = None
            elif kind == "failed":
                self._drop(worker)
                return events
        return [*events, *self._ended(worker)] if closed else events

    def _ended(self, worker: Worker) -> list[Event]:
        """What to say of a worker that has ended, or is about to."""
        if worker not in self._workers:
            return []
        task = worker.task
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(GRACE_S)  # it is ending by itself: its own exit code is what to tell
        self._drop(worker)
        return [Event(task.id, "failed", died(worker.process.returncode))] if task else []

    def _drop(self, worker: Worker) -> None:
        self._selector.unregister(worker.lines)
        self._workers.remove(worker)
        worker.task = None
        worker.stop()

    def cancel(self, task: Task | None = None) -> None:
        """Stop the worker that has a task, or all workers."""
        for worker in list(self._workers):
            if task is None or worker.task is task:
                self._drop(worker)


def died(code: int | None) -> dict[str, Any]:
    """What to say of a worker process that ended without a word."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return {"message": f"its process was ended by {name}", "hint": HINTS.get(name)}
    return {"message": f"its process ended with exit code {code}", "hint": None}
