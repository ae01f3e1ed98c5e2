"""What an executor is asked to do, and what it answers: plain data, so that it can cross to another machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kpipe.errors import StageFailed


@dataclass(frozen=True)
class Task:
    """One call of a stage's run()."""

    id: str  # instance id
    module: str
    root: str  # the project's folder, first on sys.path
    out: str
    scratch: str
    store: str
    log: str
    params: Mapping[str, Any]
    code: Mapping[str, Any] = field(repr=False)  # the closure that the key names: no other is imported from the project
    paths: Mapping[str, str] = field(default_factory=dict)  # parameters that arrive as Path
    sources: Mapping[str, Any] = field(default_factory=dict, repr=False)  # and those that are downloaded first
    modules: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, Any] = field(default_factory=dict)
    branches: tuple[Mapping[str, Any], ...] = ()  # {"axes", "inputs", "records"}, of past runs also "runs"
    backend: str | None = None
    gpus: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The task as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Event:
    """Something that happened to a task: progress, notice, measure, done, failed."""

    task: str
    kind: str
    data: Mapping[str, Any]


def failure(event: Event, log: Path) -> StageFailed:
    """The error that a failed event tells."""
    said = event.data
    return StageFailed(event.task, said["message"], hint=said.get("hint"), trace=said.get("trace"), log=log)


def too_slow(task: Task, timeout: float) -> Event:
    """What is said of a task that was stopped at its timeout."""
    return Event(task.id, "failed", {"message": f"it took longer than its timeout of {timeout:g} s and was stopped"})


class Executor(Protocol):
    """Runs tasks somewhere."""

    def submit(self, task: Task) -> None:
        """Start a task; returns at once."""

    def wait(self, patience: float | None = None) -> list[Event]:
        """Block until something happened to a submitted task, at most for some seconds."""

    def cancel(self, task: Task | None = None) -> None:
        """Stop a task, or everything that runs, and let go of its worker."""
