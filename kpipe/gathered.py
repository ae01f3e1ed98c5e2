"""The branches of past runs as their gathered stage saw them, out of the store and held there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kpipe.branches import merged, told_apart
from kpipe.dag import instance_id
from kpipe.errors import ConfigError, Problem, several
from kpipe.stage import Branch
from kpipe.store import Store
from kpipe.summary import of_status, overrides

Run = Mapping[str, Any]  # as history.runs gives it
Seen = list[tuple[dict[str, Any], dict[str, str]]]  # axes, and need -> digest of its artifact; of every branch


def gather(store: Store, runs: Sequence[Run], stage: str) -> list[Branch]:
    """The branches of all runs that a gathered stage of this name saw, told apart; ConfigError lists all that is not there.

    One that is the very same in several runs comes once and names them all. The artifacts are held until the store is closed.
    """
    found: list[Branch] = []
    problems: list[Problem] = []
    for run in runs:
        try:
            found += of_run(store, run, stage)
        except ConfigError as e:
            problems += e.problems
    if problems:
        raise ConfigError(problems)
    return told_apart(merged(found), runs)


def of_run(store: Store, run: Run, stage: str) -> list[Branch]:
    """The branches of one run; ConfigError where it did not come so far, or an artifact is not in the store as it was stored."""
    seen, faults = held(store, run, stage)
    gone = [
        f"{need} of {Branch(axes, {}).label}: {faults[digest]}"
        for axes, inputs in seen
        for need, digest in inputs.items()
        if faults[digest]
    ]
    if gone:
        raise ConfigError(f"run {run['run']}: the store no longer has what it made ({several(gone)})", hint=again(run))
    return branches_of(store, run, seen, faults)


def of_last(store: Store, runs: Iterable[Run]) -> list[Branch]:
    """The branches of the last gathered stage that finished, as far as the store still has them whole."""
    for run in runs:
        for name, entry in run["instances"].items():
            if entry["gather"] and entry["status"] in ("done", "cached") and store.record(entry["key"]):
                return branches_of(store, run, *held(store, run, name))
    return []


def held(store: Store, run: Run, stage: str) -> tuple[Seen, dict[str, str | None]]:
    """What the gathered stage of a run saw, held until the store is closed; what is wrong with each artifact, by its digest."""
    with store.using():
        seen = seen_by(store, run, stage)
        digests = dict.fromkeys(digest for _, inputs in seen for digest in inputs.values())
        store.hold(digests)
    return seen, {digest: store.fault(digest, contents=True) for digest in digests}


def branches_of(store: Store, run: Run, seen: Seen, faults: Mapping[str, str | None]) -> list[Branch]:
    """The branches with those of their artifacts that have no fault, and how these came to be as far as that is known."""
    records = {need: dict(records_of(store, run, need, seen)) for need in {need for _, inputs in seen for need in inputs}}
    return [
        Branch(
            axes,
            {need: store.object(digest) for need, digest in inputs.items() if not faults[digest]},
            {need: records[need][place] for need in inputs if place in records[need]},
            (run["run"],),
        )
        for place, (axes, inputs) in enumerate(seen)
    ]


def seen_by(store: Store, run: Run, stage: str) -> Seen:
    """What the gathered stage of a run saw; ConfigError where it did not finish, or its record is gone."""
    entry = run["instances"].get(stage)
    if entry is None or entry["status"] not in ("done", "cached"):
        failed = of_status(run, "failed")
        why = "it was interrupted" if run["interrupted"] else f"failed: {several(failed)}" if failed else "it was not asked for"
        raise ConfigError(f"run {run['run']} has no finished {stage} ({why})", hint=again(run))
    record = store.record(entry["key"])
    if record is None:
        raise ConfigError(f"run {run['run']}: the store no longer has its {stage}", hint=again(run))
    if not entry["gather"]:
        raise ConfigError(f"run {run['run']}: its {stage} did not gather branches", hint="name a later run")
    return [(dict(branch["axes"]), branch["inputs"]) for branch in record["key"]["branches"]]


def again(run: Run) -> str:
    """What a person can do to have it again."""
    backend = [f"KERAS_BACKEND={run['backends'][0]}"] if len(run["backends"]) == 1 else []
    command = " ".join([*backend, "kpipe run", *overrides(run)])
    return f"{command} makes it, with the pipeline file of then; name the new run instead"


def records_of(store: Store, run: Run, need: str, seen: Seen) -> Iterator[tuple[int, dict[str, Any]]]:
    """The place of every branch and how its artifact of a need came to be, where that is still known."""
    names = run.get("axes", {}).get(need)  # runs of an older kpipe do not tell the axes that an id names
    for place, (axes, inputs) in enumerate(seen):
        if names is not None and need in inputs:
            entry = run["instances"][instance_id(need, [axes[name] for name in names])]
            record = store.record(entry["key"])
            if record and record["output_digest"] == inputs[need]:  # else it was made anew, and not the same
                yield place, record
