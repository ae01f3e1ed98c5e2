"""Runs one chosen instance in this very process, at this terminal, so that breakpoint() works; the rest elsewhere."""

from __future__ import annotations

import os
from typing import Any

from kpipe.executors.environment import environment
from kpipe.task import Event, Executor, Task
from kpipe.worker import run_task


class InlineExecutor:
    """For --debug: no child process and no redirected output for the instances named; others go to `elsewhere`."""

    def __init__(self, here: frozenset[str], elsewhere: Executor) -> None:
        self.here = here
        self.elsewhere = elsewhere
        self._events: list[Event] = []

    def submit(self, task: Task) -> None:
        """Run a chosen task to its end, or hand it on."""
        if task.id not in self.here:
            self.elsewhere.submit(task)
            return
        os.environ.update(environment(task, 1))

        def emit(event: dict[str, Any]) -> None:
            self._events.append(Event(task.id, event.pop("event"), event))

        run_task(task.as_json(), emit)

    def wait(self, patience: float | None = None) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events or self.elsewhere.wait(patience)

    def cancel(self, task: Task | None = None) -> None:
        """Stop what runs elsewhere; what runs here has a person at it, and no timeout."""
        self.elsewhere.cancel(task)
