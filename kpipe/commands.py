"""One function a command; each returns the exit code and leaves exiting to cli.py."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kpipe import console, history
from kpipe.closure import Project
from kpipe.dag import Dag
from kpipe.engine import Run
from kpipe.errors import ConfigError
from kpipe.expand import build_dag
from kpipe.export import export
from kpipe.outcome import Outcome
from kpipe.plan import Hit, Pending, Planner, Status
from kpipe.progress import listener, why
from kpipe.spec import load
from kpipe.store import Store, new_run_id, now
from kpipe.task import Event, Executor


def prepare(args: Namespace) -> tuple[Dag, Store, Planner, set[str]]:
    """Read the file, expand the DAG, choose the instances that the command is about."""
    spec = load(Path(args.file), args.set)
    store = Store(spec.store)
    dag = build_dag(spec, Project(spec.root, store.sources))
    ids = dag.ancestors(dag.select(args.until)) if args.until else set(dag.instances)
    force = frozenset(id_ for name in args.force for id_ in dag.select(name))
    for text in dag.notices:
        console.notice(text)
    return dag, store, Planner(dag, store, force), ids


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
            planner.save()
            history.append(store, dag.spec, run_id, started, running.outcomes)
            store.close()
    return conclude(args, dag, store, outcomes)


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


def plan(args: Namespace) -> int:
    """Say what would run, and why; nothing is run."""
    _, store, planner, ids = prepare(args)
    statuses = planner.plan(ids)
    store.save_caches()
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
        upstream = ", ".join(status.upstream[:3]) + (f" and {len(status.upstream) - 3} more" if len(status.upstream) > 3 else "")
        return ("run", why(status.reasons)) if status.reasons else ("depends", f"on what {upstream} will give")
    return "run", why(status.reasons)


def status_json(status: Status) -> dict[str, Any]:
    """A status as plain data."""
    reasons = () if isinstance(status, Hit) else status.reasons
    upstream = list(status.upstream) if isinstance(status, Pending) else []
    return {"status": words(status)[0], "reasons": [c.as_json() for c in reasons], "depends_on": upstream}


def explain(args: Namespace) -> int:
    """Say how a stage's key differs from that of its last run."""
    dag, store, planner, _ = prepare(args)
    chosen = dag.select(args.stage)
    statuses = planner.plan(dag.ancestors(chosen))
    store.save_caches()
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


def show_dag(args: Namespace) -> int:
    """Draw the DAG."""
    from kpipe.drawing import FORMATS

    dag, *_ = prepare(args)
    console.result(FORMATS[args.format](dag))
    return 0


def logs(args: Namespace) -> int:
    """Print what a stage's code printed when it last ran."""
    dag, _, planner, _ = prepare(args)
    for id_ in dag.select(args.stage):
        log = Path(planner.head.get(id_, {}).get("log", ""))
        if not log.is_file():
            console.say(f"{id_}: no log; it has not run here")
            continue
        console.say(f"{id_}: {console.relative(log)}")
        console.result(log.read_text(errors="replace").rstrip("\n"))
    return 0


def predict(args: Namespace) -> int:
    """Classify pictures with a model of the last run."""
    from kpipe.tools import use

    spec = load(Path(args.pipeline), args.set)
    if spec.problems:
        raise ConfigError(spec.problems, file=spec.file, overrides=spec.overrides)
    missing = [path for path in args.paths if not Path(path).exists()]
    if missing:
        raise ConfigError(f"{missing[0]}: no such file or folder", hint="kpipe predict IMAGE|FOLDER ...")
    params = {"paths": args.paths, "model": args.model}
    with use(spec, Store(spec.store), "stages.tools.predict", params, said) as folder:
        rows = read_csv(folder / "predictions.csv")
    if args.json:
        console.result_json([dict(zip(rows[0], row, strict=True)) for row in rows[1:]])
    else:
        for line in console.table(rows):
            console.result(line)
    return 0


def said(event: Event) -> None:
    """Pass on what a tool has to say."""
    if event.kind == "notice":
        console.notice(event.data["text"])


def read_csv(path: Path) -> list[list[str]]:
    """The rows of a CSV file, its header first."""
    import csv

    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))
