"""kpipe plan and kpipe explain: the same look-up as a run makes, in words."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from kpipe import console
from kpipe.commands.prepare import prepare
from kpipe.errors import several
from kpipe.plan import Hit, Pending, Status


def plan(args: Namespace) -> int:
    """Say what would run, and why; nothing is run."""
    pipeline = prepare(args)
    needed = pipeline.needed()
    statuses = {id_: s for id_, s in pipeline.planner.plan(pipeline.ids | needed).items() if id_ in pipeline.ids}
    pipeline.store.save_caches()
    if args.json:
        console.result_json([{"instance": id_, **status_json(s)} for id_, s in statuses.items()])
        return 0
    for line in console.table([[id_, *words(s)] for id_, s in statuses.items()]):
        console.result(line)
    return 0


def words(status: Status) -> tuple[str, str]:
    """A status and its reason in words."""
    if isinstance(status, Hit):
        return "cached", ""
    if isinstance(status, Pending):
        return (
            ("run", several(status.reasons)) if status.reasons else ("depends", f"on what {several(status.upstream)} will give")
        )
    return "run", several(status.reasons)


def status_json(status: Status) -> dict[str, Any]:
    """A status as plain data."""
    reasons = () if isinstance(status, Hit) else status.reasons
    upstream = list(status.upstream) if isinstance(status, Pending) else []
    return {"status": words(status)[0], "reasons": [c.as_json() for c in reasons], "depends_on": upstream}


def explain(args: Namespace) -> int:
    """Say how a stage's key differs from that of its last run."""
    pipeline = prepare(args)
    chosen = pipeline.dag.select(args.stage)
    statuses = pipeline.planner.plan(pipeline.dag.ancestors(chosen))
    pipeline.store.save_caches()
    if args.json:
        console.result_json([{"instance": id_, **status_json(statuses[id_])} for id_ in chosen])
        return 0
    for id_ in chosen:
        status = statuses[id_]
        state, why_ = words(status)
        console.result(f"{id_}: {state}" + (f" {why_}" if state == "depends" else ""))
        for change in () if isinstance(status, Hit) else status.reasons:
            console.result(f"  {change}")
    return 0
