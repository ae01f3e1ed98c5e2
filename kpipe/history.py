"""What was run when: one JSON line a run, appended when it ends.

An interrupted run is in it, with what it did until then. A run that was killed is not: nothing of it is left but the
artifacts that it had committed, and the next run finds those in the cache.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kpipe import metrics
from kpipe.errors import ConfigError, several
from kpipe.files import locked
from kpipe.outcome import Outcome
from kpipe.spec import Spec
from kpipe.store import Store, now
from kpipe.urls import masked

BLOCK = 1 << 18  # bytes read at a time, from the end
OUTPUT_DIGITS = 12  # of an output's digest: enough to tell whether a record is still about that output
MESSAGE = 200  # characters of an error; its log has the rest


def append(
    store: Store, spec: Spec, run_id: str, started: str, outcomes: Mapping[str, Outcome], selected: Iterable[str] = ()
) -> None:
    """Add a run. Where an instance that was selected, in the DAG's order, has no outcome, the run was interrupted."""
    known = {id_: outcomes.get(id_) for id_ in dict.fromkeys([*selected, *outcomes])}
    line = {
        "run": run_id,
        "pipeline": spec.name,
        "identity": spec.identity,
        "backends": spec.backends,
        "overrides": [masked(override) for override in spec.overrides],
        "started": started,
        "ended": now(),
        "interrupted": None in known.values(),
        **compact(store, known),
    }
    write(store.root, json.dumps(line, separators=(",", ":")).encode())


def compact(store: Store, outcomes: Mapping[str, Outcome | None]) -> dict[str, Any]:
    """What became of the instances; there may be thousands, and most of them cached."""
    settled = {id_: o for id_, o in outcomes.items() if o}
    headlines = {id_: metrics.headline(metrics.read(store.object(o.output))) for id_, o in settled.items() if o.output}
    return {
        "instances": {id_: [o.key.digest, o.output[:OUTPUT_DIGITS]] if o and o.key else None for id_, o in outcomes.items()},
        "status": {id_: o.status if o else "not run" for id_, o in outcomes.items() if not o or o.status != "cached"},
        "axes": {o.instance.stage.name: list(o.instance.axes) for o in settled.values()},
        "gather": [id_ for id_, o in settled.items() if o.instance.stage.gather],
        "errors": {id_: [o.error.message[:MESSAGE], str(o.log or "")] for id_, o in settled.items() if o.error},
        "headlines": {id_: told for id_, told in headlines.items() if told},
    }


def expand(line: dict[str, Any]) -> dict[str, Any]:
    """A line as its readers see it: everything about an instance in one place."""
    status, gather, errors, headlines = (line.pop(name) for name in ("status", "gather", "errors", "headlines"))
    gathered = set(gather)
    for id_, found in line["instances"].items():
        key, output = found or (None, None)
        error, log = errors.get(id_, (None, None))
        line["instances"][id_] = {
            "status": status.get(id_, "cached"),
            "key": key,
            "output": output or None,
            "gather": id_ in gathered,
            "error": error,
            "log": log,
            "headline": headlines.get(id_, {}),
        }
    return line


def write(root: Path, line: bytes) -> None:
    """Append a line; a torn one that stands before it, from a kill or a full disk, is ended first."""
    with locked(root / "runs.lock"):
        handle = os.open(root / "runs.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(handle).st_size
            torn = size and os.pread(handle, 1, size - 1) != b"\n"
            rest = memoryview((b"\n" if torn else b"") + line + b"\n")
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)


def runs(store: Store, pipeline: str | None = None) -> Iterator[dict[str, Any]]:
    """All runs, the last first, of the pipeline with an identity; lines that are not whole are passed over."""
    for line in backwards(store.root / "runs.jsonl"):
        try:
            run = json.loads(line)
            wanted = pipeline in (None, run["identity"])
            found = expand(run) if wanted else None
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
        if found:
            yield found


def backwards(path: Path) -> Iterator[bytes]:
    """The lines of a file from its end, read in blocks as they are asked for."""
    if not path.exists():
        return
    with path.open("rb") as file:
        position, first = file.seek(0, os.SEEK_END), b""
        while position:
            size = min(BLOCK, position)
            position -= size
            file.seek(position)
            first, *whole = (file.read(size) + first).split(b"\n")
            yield from reversed(whole)
        yield first


def find(store: Store, pipeline: str, name: str) -> dict[str, Any]:
    """The run that an id, the beginning of one, or last, last~1, ... names; ConfigError where that is not one run."""
    back = re.fullmatch(r"last(?:~(\d{1,9}))?", name)
    ids: list[str] = []
    first: dict[str, Any] = {}
    for run in runs(store, pipeline):
        if run["run"] == name or (back and len(ids) == int(back[1] or 0)):
            return run
        ids.append(run["run"])
        if not first and run["run"].startswith(name):
            first = run
    found = [id_ for id_ in ids if id_.startswith(name)]
    if len(found) == 1:
        return first
    if found:
        raise ConfigError(f"{name} is the beginning of {several(found)}", hint="give more of the run's id")
    if not ids:
        raise ConfigError(f"{name}: this pipeline has not run yet", hint="kpipe run")
    near = get_close_matches(name, ids, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"kpipe runs lists them: {several(ids)}"
    raise ConfigError(f"{name}: no such run among the {len(ids)} of this pipeline", hint=hint)
