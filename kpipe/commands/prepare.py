"""What every command begins with: the file, the DAG, the store, and the instances that the command is about."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from kpipe import console
from kpipe.closure import Project
from kpipe.dag import Dag
from kpipe.expand import build_dag
from kpipe.plan import Planner
from kpipe.spec import load
from kpipe.store import Store


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
