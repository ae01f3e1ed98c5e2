"""What becomes of an instance during a run, and who is told."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from kpipe.dag import Instance
from kpipe.errors import StageFailed
from kpipe.explain import Change
from kpipe.key import Key
from kpipe.task import Event, Task

DAY_S = 86_400.0  # the system's own calls wait three weeks at most


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
    """An instance that is being computed: the attempt that an executor has, and what was said so far."""

    instance: Instance
    key: Key
    claim: IO[str]  # held: no other process computes this key
    reasons: tuple[Change, ...]
    gpus: tuple[str, ...] = ()
    attempt: int = 0
    since: float = 0.0
    measures: dict[str, Any] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def begin(self, task: Task) -> None:
        """Another attempt."""
        self.task = task
        self.attempt += 1
        self.since = time.monotonic()
        self.measures.clear()

    @property
    def deadline(self) -> float | None:
        """When the attempt is overdue (monotonic seconds)."""
        return self.since + self.instance.stage.timeout if self.instance.stage.timeout else None

    def may_retry(self, event: Event) -> bool:
        """Whether a failed attempt is followed by another: not where a person has to mend something first."""
        return self.attempt <= self.instance.stage.retries and not event.data.get("final")

    def note(self, event: Event) -> None:
        """Keep what the artifact's record will tell."""
        if event.kind == "measure":
            self.measures.update(event.data["numbers"])
        elif event.kind == "notice":
            self.notices.append(event.data["text"])


def patience(running: Iterable[Running], most: float | None) -> float | None:
    """Seconds until the first of the attempts is overdue, at most so many or a day; None where there is nothing to look for."""
    until = [r.deadline - time.monotonic() for r in running if r.deadline] + ([most] if most is not None else [])
    return max(0.0, min(DAY_S, *until)) if until else None


class Listener(Protocol):
    """Who is told what happens."""

    def started(self, instance: Instance, reasons: tuple[Change, ...]) -> None:
        """A stage starts, and why."""

    def event(self, instance: Instance, event: Event) -> None:
        """A running stage said something."""

    def waiting(self, instance: Instance) -> None:
        """Another process computes this very key."""

    def notice(self, id_: str, text: str) -> None:
        """Something about an instance that a person must know."""

    def settled(self, outcome: Outcome) -> None:
        """An instance is done with."""
