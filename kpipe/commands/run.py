"""kpipe run."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from kpipe import console, history
from kpipe.commands.prepare import prepare
from kpipe.dag import Dag
from kpipe.engine import Run
from kpipe.errors import ConfigError
from kpipe.export import export
from kpipe.outcome import Outcome
from kpipe.plan import Planner
from kpipe.progress import listener
from kpipe.store import Store, new_run_id, now
from kpipe.task import Executor


def run(args: Namespace) -> int:
    """Bring the pipeline up to date and export its reports."""
    here: frozenset[str] = frozenset()
    if args.debug:
        args.until, args.force = args.debug, [*args.force, args.debug]
    dag, store, planner, ids = prepare(args)
    if args.debug:
        here = frozenset(dag.select(args.debug))
    started, run_id = now(), new_run_id()
    with listener(ids, quiet=args.json, live=not here) as told:
        running = Run(planner, make_executor(args, here), told, run_id, args.jobs, args.keep_going)
        try:
            outcomes = running.execute(ids)
        finally:
            remember(store, planner, run_id, started, running.outcomes)
    return conclude(args, dag, store, outcomes)


def remember(store: Store, planner: Planner, run_id: str, started: str, outcomes: Mapping[str, Outcome]) -> None:
    """Note what ran; a store that cannot be written to still serves what it has."""
    try:
        planner.save()
        history.append(store, planner.dag.spec, run_id, started, outcomes)
        store.close()
    except OSError as e:
        console.notice(f"the store {store.root} cannot be written ({e.strerror}): this run is not in its history")


def conclude(args: Namespace, dag: Dag, store: Store, outcomes: Mapping[str, Outcome]) -> int:
    """Export, say what failed, and print the result: the reports' paths, last."""
    pages = export(dag.spec, store, outcomes)
    failed = [o.error for o in outcomes.values() if o.error]
    if args.json:
        console.result_json({"instances": [outcome_json(o) for o in outcomes.values()], "reports": [str(p) for p in pages]})
    for error in failed:
        console.error(error)
    skipped = [o.instance.id for o in outcomes.values() if o.status == "not run"]
    if skipped:
        console.say(f"not run: {', '.join(skipped)}")
    if not args.json:
        for page in pages:
            console.result(console.relative(page))
    return 1 if failed else 0


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


def make_executor(args: Namespace, here: frozenset[str]) -> Executor:
    """The executor that --executor names, imported only now; --debug runs its instances in this process."""
    if args.executor != "local":
        raise ConfigError(f"--executor {args.executor}: there is none of this name", hint="executors: local")
    from kpipe.executors.local import LocalExecutor

    local = LocalExecutor(args.jobs)
    if not here:
        return local
    from kpipe.executors.inline import InlineExecutor

    return InlineExecutor(here, local)
