"""Runs in words."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from kpipe.console import table
from kpipe.errors import several
from kpipe.explain import MISSING
from kpipe.progress import duration

WIDTH = 100  # columns

Run = Mapping[str, Any]  # as history.runs gives it


def listed(runs: Sequence[Run]) -> Iterator[str]:
    """A line for every run, and under it what there is to say more."""
    heading, *lines = table([["run", "started", "took", "backend", "what"], *([*head(run), counts(run)] for run in runs)])
    yield heading
    for line, run in zip(lines, runs, strict=True):
        yield line
        for parts in (details(run), headlines(run)):
            yield from wrapped(parts)


def wrapped(parts: Sequence[str]) -> list[str]:
    """Parts on indented lines; one that has room on a line is not broken."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 2 + len(part) <= WIDTH:
            lines[-1] += f"  {part}"
        else:
            lines.append(" " * 4 + part)
    return lines


def fitting(names: Sequence[str], width: int) -> str:
    """As many names as there is room for, and the number of the others."""
    most = min(len(names), 9)
    while most > 1 and len(several(names, most)) > width:
        most -= 1
    return several(names, most)


def head(run: Run) -> list[str]:
    """Its id, when it started (local time), how long it took, on what."""
    started, ended = (datetime.fromisoformat(run[name]) for name in ("started", "ended"))
    seconds = (ended - started).total_seconds()
    took = duration(seconds) if seconds >= 60 else f"{seconds:.0f} s"
    return [run["run"], f"{started.astimezone():%Y-%m-%d %H:%M}", took, "+".join(run["backends"])]


def of_status(run: Run, status: str) -> list[str]:
    """The instances that came to this."""
    return [id_ for id_, entry in run["instances"].items() if entry["status"] == status]


def counts(run: Run) -> str:
    """2 of 11 ran, 9 cached, 1 failed."""
    done, cached, failed = (len(of_status(run, status)) for status in ("done", "cached", "failed"))
    ran = f"{done} of {len(run['instances'])} ran" if done else ""
    ended = "interrupted" if run["interrupted"] else f"{failed} failed" if failed else ""
    return ", ".join(filter(None, [ran, f"{cached} cached" if cached else "", ended])) or "nothing ran"


def details(run: Run) -> list[str]:
    """Which instances ran, failed or did not run, and the run's --set."""
    words = {"done": "ran", "failed": "failed", "not run": "not run"}
    found = {word: of_status(run, status) for status, word in words.items()}
    parts = [f"{word} {fitting(ids, WIDTH - 12)}" for word, ids in found.items() if 0 < len(ids) < len(run["instances"])]
    return parts + overrides(run)


def overrides(run: Run) -> list[str]:
    """Its --set, as one would type them."""
    return [f"--set {shlex.quote(override)}" for override in run["overrides"]]


def headlines(run: Run) -> list[str]:
    """The first headline metric of every branch, and of the others as many as the line has room for."""
    found = {id_: entry["headline"] for id_, entry in run["instances"].items() if entry["headline"]}
    branches = {id_: id_.partition("[")[2].removesuffix("]") for id_ in found}
    labels = branches if len(set(branches.values())) == len(found) else {id_: id_ for id_ in found}  # two stages have metrics
    parts = []
    for name in dict.fromkeys(name for told in found.values() for name in told):
        values = [f"{labels[id_]} {number(told[name]['value'])}".lstrip() for id_, told in found.items() if name in told]
        parts.append(f"{name} {fitting(values, WIDTH - 5 - len(name))}")
    while len(wrapped(parts)) > 1:
        parts.pop()
    return parts


def number(value: float | None) -> str:
    """A metric's value."""
    return MISSING if value is None else str(value) if isinstance(value, int) else f"{value:.4g}"
