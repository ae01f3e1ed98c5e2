"""Tools: stage code that goes through the same door in a worker, on the branches of the last run, and is not cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kpipe import history
from kpipe.closure import Project
from kpipe.errors import ConfigError
from kpipe.executors.local import LocalExecutor
from kpipe.identity import gpus
from kpipe.parameters import Parameters
from kpipe.slots import wanted_gpus
from kpipe.spec import Spec
from kpipe.store import Store, new_run_id
from kpipe.task import Event, Task, failure


@contextmanager
def use(spec: Spec, store: Store, module: str, params: dict[str, Any], told: Callable[[Event], None]) -> Iterator[Path]:
    """Run a tool on the last run's branches and hold the folder of what it wrote; StageFailed where it fails."""
    try:
        task = make_task(spec, store, module, Parameters(params), list(last_branches(spec, store)))
        yield execute(task, told)
    finally:
        store.close()


def make_task(
    spec: Spec,
    store: Store,
    module: str,
    parameters: Parameters,
    branches: Sequence[Mapping[str, Any]],
    backend: str | None = None,
) -> Task:
    """A call of a module's run() that nothing caches, on the pipeline's backend where none is given.

    ConfigError where the project has no such module.
    """
    project = Project(spec.root, store.sources)
    if project.path(module) is None:
        raise ConfigError(f"this project has no {module}", hint=f"it would stand below {spec.root}")
    closure = project.closure(module, parameters.modules.values())
    on = (backend or spec.backend) if closure.uses_keras else None
    return Task(
        id=module,
        module=module,
        folders=tuple(sorted({file.partition("/")[0] for file in closure.code})),
        root=str(spec.root.resolve()),
        out=str(store.session.draft()),
        scratch=str(store.session.draft()),
        store=str(store.root),
        log=str(store.log(new_run_id(), module)),
        params=parameters.values,
        paths={name: str(path.absolute()) for name, path in parameters.paths.items()},
        modules=parameters.modules,
        branches=tuple(branches),
        backend=on,
        gpus=tuple(gpus()[: wanted_gpus(on, 1)]),
    )


def execute(task: Task, told: Callable[[Event], None]) -> Path:
    """Run one task to its end in a worker of its own; the folder of what it wrote."""
    executor = LocalExecutor(1)
    try:
        executor.submit(task)
        while True:
            for event in executor.wait():
                if event.kind == "done":
                    return Path(task.out)
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
