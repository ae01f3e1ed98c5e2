"""Tools: stage code that goes through the same door in a worker, on the branches of the last run, and is not cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kpipe import history
from kpipe.branches import as_task
from kpipe.closure import Project
from kpipe.errors import ConfigError
from kpipe.executors.local import LocalExecutor
from kpipe.gathered import of_last
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
        branches = of_last(store, history.runs(store, spec.identity))
        task = make_task(spec, store, module, Parameters(params), [as_task(branch) for branch in branches])
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
        root=str(spec.root.resolve()),
        out=str(store.session.draft()),
        scratch=str(store.session.draft()),
        store=str(store.root),
        log=str(store.log(new_run_id(), module)),
        params=parameters.values,
        code=closure.code,
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
