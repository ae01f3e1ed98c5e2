"""How two runs differ: what their instances were made from, and the metrics of what they made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kpipe import metrics
from kpipe.explain import Change, changes
from kpipe.store import Store

Run = Mapping[str, Any]  # as history.runs gives it
Entry = Mapping[str, Any]  # one of its instances
ABSENT: Entry = {"status": None, "key": None, "output": None, "headline": {}}


@dataclass(frozen=True)
class Metric:
    """One metric of one instance in two runs; None where a run has it not."""

    instance: str
    name: str
    old: float | None
    new: float | None
    direction: str | None = None  # which is better: "higher" or "lower"
    headline: bool = False

    @property
    def change(self) -> float | None:
        """How much it rose."""
        return None if self.old is None or self.new is None else self.new - self.old

    @property
    def better(self) -> bool | None:
        """Whether it became better; None where that is not known, or it did not change."""
        change = self.change
        if self.direction is None or not change or math.isnan(change):
            return None
        return (change > 0) == (self.direction == "higher")

    def as_json(self) -> dict[str, Any]:
        """The metric as plain data."""
        names = ("instance", "name", "old", "new", "change", "better", "headline")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Comparison:
    """Two runs of a pipeline side by side."""

    old: Run
    new: Run
    only_old: tuple[str, ...]  # instances
    only_new: tuple[str, ...]
    changes: Mapping[str, tuple[Change, ...]]  # instance -> how it differs, where it does
    metrics: tuple[Metric, ...]  # of instances with another output; outside the headline only those that differ
    gone: tuple[tuple[str, str], ...]  # (instance, run): the artifact is not there, so only the headline is known

    @property
    def equal(self) -> bool:
        """Whether the runs made the same from the same."""
        return not (self.only_old or self.only_new or self.changes or self.metrics)


def compare(store: Store, old: Run, new: Run) -> Comparison:
    """Hold two runs against each other."""
    ids = dict.fromkeys([*new["instances"], *old["instances"]])
    pairs = {id_: (old["instances"].get(id_, ABSENT), new["instances"].get(id_, ABSENT)) for id_ in ids}
    found = {id_: tuple(entry_changes(store, *pair)) for id_, pair in pairs.items() if not any(e is ABSENT for e in pair)}
    rows: list[Metric] = []
    gone: list[tuple[str, str]] = []
    for id_, pair in pairs.items():
        if pair[0]["output"] != pair[1]["output"]:
            before, after = (Told.of(store, entry) for entry in pair)
            rows += metric_rows(id_, before, after)
            if before or after:
                gone += [(id_, run["run"]) for run, told in ((old, before), (new, after)) if told.numbers is None]
    return Comparison(
        old,
        new,
        only_old=tuple(id_ for id_, pair in pairs.items() if pair[1] is ABSENT),
        only_new=tuple(id_ for id_, pair in pairs.items() if pair[0] is ABSENT),
        changes={id_: differences for id_, differences in found.items() if differences},
        metrics=tuple(rows),
        gone=tuple(gone),
    )


def entry_changes(store: Store, old: Entry, new: Entry) -> Iterator[Change]:
    """How an instance of both runs differs."""
    if fate(old) != fate(new):
        yield Change("status", "status", old["status"], new["status"])
    if old["key"] and new["key"] and old["key"] != new["key"]:
        before, after = store.record(old["key"]), store.record(new["key"])
        if before and after:
            yield from changes(store.key_of(before), store.key_of(after))
        else:
            yield Change("key", "key", old["key"], new["key"])
    elif old["output"] and new["output"] and old["output"] != new["output"]:
        yield Change("output", "output", old["output"], new["output"])


def fate(entry: Entry) -> str:
    """Whether there is an artifact, and if not, why."""
    return "artifact" if entry["status"] in ("cached", "done") else str(entry["status"])


@dataclass(frozen=True)
class Told:
    """The metrics of an instance in one run."""

    headline: Mapping[str, Mapping[str, Any]]
    numbers: Mapping[str, float] | None  # None where the artifact is gone

    @classmethod
    def of(cls, store: Store, entry: Entry) -> Told:
        """From the artifact, or from the run's line where the store has another one now or none."""
        if not entry["output"]:
            return cls({}, {})
        output = str((store.record(entry["key"]) or {}).get("output_digest", ""))
        if not output.startswith(entry["output"]) or not store.object(output).is_dir():
            return cls(entry["headline"], None)
        found = metrics.read(store.object(output))
        return cls(metrics.headline(found), metrics.numbers(found))

    def __bool__(self) -> bool:
        return bool(self.headline or self.numbers)

    def value(self, name: str) -> float | None:
        """A headline metric."""
        return self.headline[name]["value"] if name in self.headline else None


def metric_rows(id_: str, old: Told, new: Told) -> Iterator[Metric]:
    """The headline, and every other number that differs."""
    for name in dict.fromkeys([*new.headline, *old.headline]):
        directions = {told.headline[name]["better"] for told in (old, new) if name in told.headline} - {None}
        direction = directions.pop() if len(directions) == 1 else None
        yield Metric(id_, name, old.value(name), new.value(name), direction, headline=True)
    if old.numbers is None or new.numbers is None:
        return
    for name in dict.fromkeys([*new.numbers, *old.numbers]):
        pair = old.numbers.get(name), new.numbers.get(name)
        if repr(pair[0]) != repr(pair[1]):  # nan is no other number than nan
            yield Metric(id_, name, *pair)
