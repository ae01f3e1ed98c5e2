"""What was run when: one JSON line a run, appended, so that a torn last line costs only itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from kpipe.outcome import Outcome
from kpipe.spec import Spec
from kpipe.store import Store, now


def append(store: Store, spec: Spec, run_id: str, started: str, outcomes: Mapping[str, Outcome]) -> None:
    """Add a run."""
    line = {
        "run": run_id,
        "pipeline": spec.name,
        "backends": spec.backends,
        "overrides": list(spec.overrides),
        "started": started,
        "ended": now(),
        "instances": {id_: entry(outcome) for id_, outcome in outcomes.items()},
    }
    handle = os.open(store.root / "runs.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, b"\n" + json.dumps(line).encode())  # the leading newline ends a line that was torn before
        os.fsync(handle)
    finally:
        os.close(handle)


def entry(outcome: Outcome) -> dict[str, Any]:
    """One instance of a run."""
    return {
        "status": outcome.status,
        "key": outcome.key.digest if outcome.key else None,
        "gather": outcome.instance.stage.gather,
        "log": str(outcome.log) if outcome.log else None,
        "error": outcome.error.message if outcome.error else None,
    }


def runs(store: Store, pipeline: str | None = None) -> Iterator[dict[str, Any]]:
    """All runs, the last first; lines that are not whole are passed over."""
    path = store.root / "runs.jsonl"
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    for line in reversed(lines):
        try:
            run = json.loads(line)
        except ValueError:
            continue
        if pipeline in (None, run.get("pipeline")):
            yield run
