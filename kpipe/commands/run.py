"""kpipe run."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from kpipe import console
from kpipe.commands.prepare import prepare
from kpipe.outcome import Outcome
from kpipe.pipeline import Finished
from kpipe.progress import listener


def run(args: Namespace) -> int:
    """Bring the pipeline up to date and export its reports."""
    pipeline = prepare(args)
    with listener(pipeline.ids, quiet=args.json, live=args.debug is None) as told:
        finished = pipeline.run(told)
    return conclude(finished, args.json)


def conclude(finished: Finished, as_json: bool) -> int:
    """Say what failed, and print the result: the reports' paths, last."""
    if finished.unwritable:
        console.notice(finished.unwritable)
    outcomes = finished.outcomes.values()
    if as_json:
        reports = [str(page) for page in finished.pages]
        console.result_json({"run": finished.run_id, "instances": [outcome_json(o) for o in outcomes], "reports": reports})
    for outcome in outcomes:
        if outcome.error:
            console.error(outcome.error)
    skipped = [o.instance.id for o in outcomes if o.status == "not run"]
    if skipped:
        console.say(f"not run: {', '.join(skipped)}")
    if not as_json:
        for page in finished.pages:
            console.result(console.relative(page))
    return 1 if finished.failed else 0


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """One instance's outcome as plain data."""
    return {
        "instance": outcome.instance.id,
        "stage": outcome.instance.stage.name,
        "axes": dict(outcome.instance.axes),
        "backend": outcome.instance.backend,
        "status": outcome.status,
        "reasons": [c.as_json() for c in outcome.reasons],
        "key": outcome.key.digest if outcome.key else None,
        "output": outcome.output or None,
        "seconds": outcome.record["seconds"] if outcome.record else None,
        "measures": outcome.record["measures"] if outcome.record else {},
        "error": outcome.error.message if outcome.error else None,
        "log": str(outcome.log) if outcome.log else None,
    }
