"""What becomes of an instance during a run, and who is told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from kpipe.dag import Instance
from kpipe.errors import StageFailed
from kpipe.explain import Change
from kpipe.key import Key
from kpipe.task import Event, Task


@dataclass(frozen=True)
class Outcome:
    """What became of one instance: cached, done, failed or "not run"."""

    instance: Instance
    status: str
    key: Key | None = None
    record: Mapping[str, Any] | None = None
    error: StageFailed | None = None
    reasons: tuple[Change, ...] = ()
    log: Path | None = None

    @property
    def output(self) -> str:
        """Digest of the artifact; empty where there is none."""
        return str(self.record["output_digest"]) if self.record else ""


@dataclass
class Running:
    """A task that an executor has, and what it said so far."""

    instance: Instance
    key: Key
    task: Task
    claim: IO[str]  # held: no other process computes this key
    reasons: tuple[Change, ...]
    since: float = field(default_factory=time.monotonic)
    measures: dict[str, Any] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


class Listener(Protocol):
    """Who is told what happens."""

    def started(self, instance: Instance, reasons: tuple[Change, ...]) -> None:
        """A stage starts, and why."""

    def event(self, instance: Instance, event: Event) -> None:
        """A running stage said something."""

    def waiting(self, instance: Instance) -> None:
        """Another process computes this very key."""

    def settled(self, outcome: Outcome) -> None:
        """An instance is done with."""
