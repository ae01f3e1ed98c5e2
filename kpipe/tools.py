"""Tools: stage code that goes through the same door in a worker, on the branches of the last run, and is not cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kpipe import history
from kpipe.closure import Project
from kpipe.errors import ConfigError
from kpipe.executors.local import LocalExecutor
from kpipe.identity import gpus
from kpipe.slots import wanted_gpus
from kpipe.spec import Spec
from kpipe.store import Store, new_run_id
from kpipe.task import Event, Task, failure


@contextmanager
def use(spec: Spec, store: Store, module: str, params: dict[str, Any], told: Callable[[Event], None]) -> Iterator[Path]:
    """Run a tool and hold the folder of what it wrote; StageFailed where it fails."""
    project = Project(spec.root, store.sources)
    if project.path(module) is None:
        raise ConfigError(f"this project has no {module}", hint=f"it would stand below {spec.root}")
    backend = spec.backend if project.closure(module).uses_keras else None
    out = store.session.draft()
    task = Task(
        id=module,
        module=module,
        folders=(module.partition(".")[0],),
        root=str(spec.root.resolve()),
        out=str(out),
        scratch=str(store.session.draft()),
        store=str(store.root),
        log=str(store.log(new_run_id(), module)),
        params=params,
        branches=tuple(last_branches(spec, store)),
        backend=backend,
        gpus=tuple(gpus()[: wanted_gpus(backend, 1)]),
    )
    try:
        execute(task, told)
        yield out
    finally:
        store.close()


def execute(task: Task, told: Callable[[Event], None]) -> None:
    """Run one task to its end in a worker of its own."""
    executor = LocalExecutor(1)
    try:
        executor.submit(task)
        while True:
            for event in executor.wait():
                if event.kind == "done":
                    return
                if event.kind == "failed":
                    raise failure(event, Path(task.log))
                told(event)
    finally:
        executor.cancel()


def last_branches(spec: Spec, store: Store) -> Iterator[dict[str, Any]]:
    """What the last gathered stage of this pipeline's last finished run saw, as far as the store still has it whole."""
    for run in history.runs(store, spec.identity):
        for entry in run["instances"].values():
            record = store.record(entry["key"] or "") if entry["gather"] and entry["status"] in ("done", "cached") else None
            if record:
                made = records(run, store)
                for branch in record["key"]["branches"]:
                    known = {need: made[digest] for need, digest in branch["inputs"].items() if digest in made}
                    yield {"axes": dict(branch["axes"]), "inputs": whole(branch["inputs"], store), "records": known}
                return


def records(run: dict[str, Any], store: Store) -> dict[str, dict[str, Any]]:
    """How the artifacts of a run came to be, by their digest."""
    found = (store.record(entry["key"]) for entry in run["instances"].values() if entry["key"])
    return {str(record["output_digest"]): record for record in found if record}


def whole(inputs: dict[str, str], store: Store) -> dict[str, str]:
    """Folders of the artifacts that are in the store as they were stored."""
    with store.using():
        store.hold(inputs.values())
    return {need: str(store.object(digest)) for need, digest in inputs.items() if store.fault(digest, contents=True) is None}
