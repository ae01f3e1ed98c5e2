"""kpipe report: the branches of several runs in one report."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from kpipe import console, history
from kpipe.branches import as_task, short_ids
from kpipe.closure import Project
from kpipe.commands.predict import said
from kpipe.dag import Instance
from kpipe.digest import digest_value
from kpipe.errors import ConfigError, Problem, StageFailed, listing, several
from kpipe.expand import build_dag
from kpipe.export import copy_out
from kpipe.files import locked_folder
from kpipe.gathered import Run, gather
from kpipe.identity import BACKENDS
from kpipe.parameters import Parameters
from kpipe.spec import Spec, load
from kpipe.stage import Branch
from kpipe.store import Store
from kpipe.task import Event
from kpipe.tools import execute, make_task

SAME_WEIGHTS = "stages.tools.same_weights"
NAMED = 3  # runs that the default file's name tells; of more, only how many


def report(args: Namespace) -> int:
    """Compare the branches of runs by the pipeline's own report stage; print the page's path."""
    spec, out = load(Path(args.file)), asked_for(args.out)
    with closing(Store(spec.store)) as store:
        stage = reporting(spec, store)
        runs = find(store, spec, args.runs)
        branches = gather(store, runs, stage.id)
        for text in noticed(branches):
            console.notice(text)
        if args.same_weights:
            branches = with_predictions(spec, store, branches, quiet=args.json)
        page = written(spec, store, stage, branches, out or default_place(spec, runs), own=out is None)
    if args.json:
        console.result_json(as_json(runs, branches, page))
    else:
        console.result(console.relative(page))
    return 0


def reporting(spec: Spec, store: Store) -> Instance:
    """The gathered stage that reports: "report" where there are several; ConfigError where that does not tell one."""
    gathered = [i for i in build_dag(spec, Project(spec.root, store.sources)).instances.values() if i.stage.gather]
    chosen = [i for i in gathered if i.id == "report"] if len(gathered) > 1 else gathered
    if not chosen:
        names = listing(i.id for i in gathered)
        says = f"which of {names} reports? None is called report" if gathered else "no stage gathers branches, so none can report"
        raise ConfigError(says, hint="[stages.report] with gather = true")
    return chosen[0]


def find(store: Store, spec: Spec, names: Sequence[str]) -> list[Run]:
    """The runs that are named, each once; ConfigError lists all names that are no run's."""
    found: dict[str, Run] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            run = history.find(store, spec.identity, name)
        except ConfigError as e:
            problems += e.problems
            continue
        if run["run"] in found:
            console.notice(f"{name} is run {run['run']}, which is named already")
        found[run["run"]] = run
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return list(found.values())


def default_place(spec: Spec, runs: Sequence[Run]) -> Path:
    """Where the page goes without --out, less its .html."""
    ids = list(short_ids([run["run"] for run in runs]).values())
    more = [f"{len(ids) - NAMED}-more-{digest_value(ids)[:6]}"] if len(ids) > NAMED else []
    return spec.root / "reports" / f"{spec.name}-{'+'.join(ids[:NAMED] + more)}"


def asked_for(out: str | None) -> Path | None:
    """Where --out wants the page, less its .html; ConfigError where that is no page, or its table and figures would overwrite."""
    if out is None:
        return None
    page = Path(out)
    if page.suffix != ".html" or page.is_dir():
        raise ConfigError(f"--out {out}: not the name of an HTML file", hint=f"--out {page.with_suffix('.html')}")
    foreign = [] if page.exists() else [path for path in (page.with_suffix(""), page.with_suffix(".csv")) if path.exists()]
    if foreign:
        says = f"--out {out}: the report would write into {console.relative(foreign[0])}, which belongs to no report"
        raise ConfigError(says, hint="another name")
    return page.absolute().with_suffix("")


def noticed(branches: Sequence[Branch]) -> Iterator[str]:
    """What a person must know of branches that are the same in several runs, and of those whose making is forgotten."""
    for branch in branches:
        if len(branch.runs) > 1:
            yield f"{branch.label}: the very same in the runs {listing(branch.runs)}, shown once"
        forgotten = [need for need in branch.inputs if need not in branch.records]
        if forgotten:
            yield f"{branch.label}: nothing tells any more how its {several(forgotten)} came to be"


def with_predictions(spec: Spec, store: Store, branches: Sequence[Branch], quiet: bool) -> list[Branch]:
    """The branches with what their saved models predict on each backend: a further input "model on BACKEND"."""
    found = list(branches)
    for backend in BACKENDS:

        def told(event: Event, backend: str = backend) -> None:
            said(event)
            if event.kind == "progress" and not quiet:
                console.say(f"saved models on {backend}: {event.data['done']} of {event.data['total']}")

        task = make_task(spec, store, SAME_WEIGHTS, Parameters(), [as_task(branch) for branch in branches], backend)
        folder = execute(task, told)
        folders = [folder / str(number) for number in range(len(branches))]
        found = [with_input(branch, f"model on {backend}", path) for branch, path in zip(found, folders, strict=True)]
    return found


def with_input(branch: Branch, name: str, folder: Path) -> Branch:
    """A branch with one input more, where there is such a folder."""
    return replace(branch, inputs={**branch.inputs, name: folder}) if folder.is_dir() else branch


def written(spec: Spec, store: Store, stage: Instance, branches: Sequence[Branch], base: Path, own: bool) -> Path:
    """Run the report stage on the branches and copy what it wrote; the path of its page."""
    task = make_task(spec, store, stage.stage.run, stage.parameters, [as_task(branch) for branch in branches])
    try:
        folder = execute(task, said)
    except StageFailed as e:
        if e.trace and not e.hint:
            e.hint = "what a run of older code made may lack what this report reads; kpipe run makes it anew"
        raise
    base.parent.mkdir(parents=True, exist_ok=True)
    with locked_folder(base.parent):  # another kpipe may write the same
        return copy_out(stage.id, folder, base, sweep=own)


def as_json(runs: Sequence[Run], branches: Sequence[Branch], page: Path) -> dict[str, Any]:
    """What was compared, and where it is told."""
    told = [{"branch": branch.label, "axes": dict(branch.axes), "runs": list(branch.runs)} for branch in branches]
    return {"runs": [run["run"] for run in runs], "branches": told, "reports": [str(page)]}
