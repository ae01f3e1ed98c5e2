"""Branches of several runs side by side: the very same ones once, the others told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kpipe.stage import Branch

Run = Mapping[str, Any]  # as history.runs gives it


def merged(branches: Iterable[Branch]) -> list[Branch]:
    """The branches, once those that several runs have, made once: the same artifacts under the same keys.

    Such as lack artifacts must also have the same label.
    """
    branches = list(branches)
    most = max((len(branch.inputs) for branch in branches), default=0)
    times: Counter[Any] = Counter()
    found: dict[Any, Branch] = {}
    for branch in branches:
        keys = {need: record["key_digest"] for need, record in branch.records.items()}
        made = tuple(branch.inputs.items()), tuple(keys.items()), "" if len(branch.inputs) == most else branch.label
        times[branch.runs, made] += 1  # two branches of one run stay two
        place = made, times[branch.runs, made]
        same = found.get(place)
        found[place] = replace(same, runs=same.runs + branch.runs) if same else branch
    return list(found.values())


def told_apart(branches: Sequence[Branch], runs: Sequence[Run]) -> list[Branch]:
    """The branches with an axis `backend` where they differ in it, and an axis `run` where labels would still be equal."""
    default = {run["run"]: run["backends"][0] for run in runs}
    backends = [branch.axes.get("backend", default[branch.runs[0]]) for branch in branches]
    if len(set(backends)) > 1:
        branches = [with_axis(branch, "backend", backend) for branch, backend in zip(branches, backends, strict=True)]
    if len({branch.label for branch in branches}) == len(branches):
        return list(branches)
    axis = "run_id" if any("run" in branch.axes for branch in branches) else "run"
    short = short_ids([run["run"] for run in runs])
    return [with_axis(branch, axis, "+".join(short[run] for run in branch.runs)) for branch in branches]


def with_axis(branch: Branch, axis: str, value: str) -> Branch:
    """A branch with one axis more."""
    return replace(branch, axes={**branch.axes, axis: value})


def short_ids(runs: Sequence[str]) -> dict[str, str]:
    """The ids of runs, of each only its time where no other began in the same second."""
    times = {run: run.partition("-")[0] for run in runs}
    return {run: time if list(times.values()).count(time) == 1 else run for run, time in times.items()}


def as_task(branch: Branch) -> dict[str, Any]:
    """A branch as a task holds it."""
    return {
        "axes": dict(branch.axes),
        "inputs": {need: str(path) for need, path in branch.inputs.items()},
        "records": dict(branch.records),
        "runs": list(branch.runs),
    }
