"""From an instance that has to run to the task an executor is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kpipe.dag import Instance
from kpipe.outcome import Outcome, Running
from kpipe.plan import Planner
from kpipe.task import Task


def make_task(planner: Planner, running: Running, outcomes: Mapping[str, Outcome], run_id: str) -> Task:
    """Everything the worker needs: folders, parameters, and how the inputs came to be."""
    instance, store = running.instance, planner.store
    parameters = instance.parameters

    def folders(inputs: Mapping[str, str]) -> dict[str, str]:
        return {need: str(store.object(outcomes[id_].output)) for need, id_ in inputs.items() if outcomes[id_].output}

    def records(inputs: Mapping[str, str]) -> dict[str, Any]:
        return {need: outcomes[id_].record for need, id_ in inputs.items() if outcomes[id_].record}

    return Task(
        id=instance.id,
        module=instance.stage.run,
        root=str(planner.dag.spec.root.resolve()),
        out=str(store.session.draft()),
        scratch=str(store.scratch(running.key.digest)),
        store=str(store.root),
        log=str(store.log(run_id, instance.id)),
        params=parameters.values,
        code=instance.closure.code,
        paths={name: str(path.absolute()) for name, path in parameters.paths.items()},
        sources={name: source.as_json(running.key.files[name]) for name, source in parameters.sources.items()},
        modules=parameters.modules,
        inputs=folders(instance.inputs),
        records=records(instance.inputs),
        branches=tuple({"axes": dict(axes), "inputs": folders(i), "records": records(i)} for axes, i in instance.branches),
        backend=instance.backend,
        gpus=running.gpus,
    )


def missing_gpus(instance: Instance, task: Task) -> str | None:
    """What to say where a stage asked for more GPUs than it gets."""
    asked = instance.stage.resources.get("gpus", 0)
    if asked <= len(task.gpus) or not instance.backend:
        return None
    wanted = f"{instance.stage.name} asks for {asked} GPU{'s' * (asked > 1)}"
    if not task.gpus:
        return f"{wanted}; there is none here that {instance.backend} can use: it runs on the CPU"
    return f"{wanted}; this machine has {len(task.gpus)}"
