"""What a person sees while a pipeline runs: live bars at a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kpipe import console
from kpipe.dag import Instance
from kpipe.errors import several
from kpipe.explain import Change
from kpipe.outcome import Outcome
from kpipe.task import Event

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

QUIET_S = 10.0  # a log gets a progress line no more often than this


class PlainListener(AbstractContextManager["PlainListener"]):
    """One line for each thing that happens."""

    def __init__(self, ids: set[str], verbose: bool = True) -> None:
        self.width = max(map(len, ids), default=0)
        self.verbose = verbose
        self._spoke: dict[str, float] = {}

    def line(self, id_: str, text: str, colour: str = "bold") -> None:
        """A line about one instance."""
        if self.verbose:
            console.say(f"{console.paint(id_.ljust(self.width), colour)}  {text}")

    def notice(self, id_: str, text: str) -> None:
        """Something a person must know about one instance."""
        self.line(id_, console.noticed(text))

    def started(self, instance: Instance, reasons: tuple[Change, ...]) -> None:
        """A stage starts, and why."""
        on = f" on {instance.backend}" if instance.backend else ""
        self.line(instance.id, f"runs{on}: {several(reasons)}")

    def event(self, instance: Instance, event: Event) -> None:
        """A running stage said something."""
        if event.kind == "notice":
            self.notice(instance.id, event.data["text"])
        elif event.kind == "progress":
            self.progress(instance, event.data)

    def progress(self, instance: Instance, data: Mapping[str, Any]) -> None:
        """How far a stage is."""
        last = self._spoke.setdefault(instance.id, time.monotonic())
        if time.monotonic() - last >= QUIET_S:
            self._spoke[instance.id] = time.monotonic()
            self.line(instance.id, f"{data['done']:g}/{data['total']:g}  {numbers(data['numbers'])}".rstrip())

    def waiting(self, instance: Instance) -> None:
        """Another process computes this very key."""
        self.line(instance.id, "waits: another kpipe computes the same")

    def settled(self, outcome: Outcome) -> None:
        """An instance is done with."""
        if outcome.status == "cached":
            self.line(outcome.instance.id, console.paint("cached", "dim"))
            for text in (outcome.record or {}).get("notices", []):
                self.notice(outcome.instance.id, text)
        elif outcome.status == "done" and outcome.record:
            self.line(outcome.instance.id, f"{console.paint('done', 'green')} in {duration(outcome.record['seconds'])}")
        else:
            self.line(outcome.instance.id, console.paint(outcome.status, "red"))

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        return None


class LiveListener(PlainListener):
    """The same lines, and under them a bar for every stage that runs."""

    def __init__(self, ids: set[str]) -> None:
        super().__init__(ids)
        self._bars: dict[str, TaskID] = {}
        self._progress: Progress | None = None

    def line(self, id_: str, text: str, colour: str = "bold") -> None:
        """A line above the bars."""
        if self._progress:
            from rich.text import Text

            self._progress.console.print(Text.from_ansi(f"{console.paint(id_.ljust(self.width), colour)}  {text}"))
        else:
            super().line(id_, text, colour)

    def started(self, instance: Instance, reasons: tuple[Change, ...]) -> None:
        """A stage starts: its bar appears."""
        if self._progress is None:
            self._progress = bars()
            self._progress.start()
        super().started(instance, reasons)
        self._bars[instance.id] = self._progress.add_task(instance.id, total=None, numbers="")

    def progress(self, instance: Instance, data: Mapping[str, Any]) -> None:
        """Move the bar."""
        if self._progress:
            self._progress.update(
                self._bars[instance.id], completed=data["done"], total=data["total"], numbers=numbers(data["numbers"])
            )

    def settled(self, outcome: Outcome) -> None:
        """Take the bar away."""
        bar = self._bars.pop(outcome.instance.id, None)
        if self._progress and bar is not None:
            self._progress.remove_task(bar)
        super().settled(outcome)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress:
            self._progress.stop()


def bars() -> Progress:
    """Name, bar, time left, and the stage's own numbers (epoch, images per second)."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[numbers]}", markup=False),
    ]
    return Progress(*columns, console=Console(stderr=True), transient=True)


def listener(ids: set[str], quiet: bool, live: bool = True) -> PlainListener:
    """Bars for a person, lines for a log, silence for a machine."""
    return LiveListener(ids) if console.is_terminal() and live and not quiet else PlainListener(ids, verbose=not quiet)


def numbers(values: Mapping[str, Any]) -> str:
    """A stage's own numbers and words: activations  epoch 3  loss 0.231."""
    return "  ".join(v if isinstance(v, str) else f"{name.replace('_', ' ')} {v:.4g}" for name, v in values.items())


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)} min {rest:.0f} s" if minutes else f"{rest:.1f} s"
