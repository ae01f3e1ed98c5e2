"""The DAG: instances of stages, and what each of them needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kpipe.closure import Closure
from kpipe.errors import ConfigError, listing, nearest
from kpipe.parameters import Parameters
from kpipe.spec import Spec, StageSpec
from kpipe.tomlfile import shown


@dataclass(frozen=True)
class Instance:
    """One stage with one value for each of its axes."""

    id: str  # "train[resnet50]"
    stage: StageSpec
    axes: Mapping[str, Any]  # axis -> name of its value
    parameters: Parameters
    closure: Closure
    backend: str | None  # None where the stage's code does not import keras
    inputs: Mapping[str, str] = field(default_factory=dict)  # need -> instance id
    branches: tuple[tuple[Mapping[str, Any], Mapping[str, str]], ...] = ()  # gathered: (axes, need -> instance id)

    @cached_property
    def upstream(self) -> list[str]:
        """Ids of the instances it needs."""
        ids = [*self.inputs.values(), *(i for _, inputs in self.branches for i in inputs.values())]
        return list(dict.fromkeys(ids))


def instance_id(stage: str, names: Sequence[Any]) -> str:
    """The id of a stage's instance with these axis values: train[resnet50]."""
    return f"{stage}[{','.join(map(str, names))}]" if names else stage


@dataclass(frozen=True)
class Dag:
    """All instances, each after those it needs."""

    spec: Spec
    instances: Mapping[str, Instance]
    notices: tuple[str, ...]

    def ancestors(self, ids: Sequence[str]) -> set[str]:
        """The given instances and everything they need."""
        found: set[str] = set()
        todo = list(ids)
        while todo:
            id_ = todo.pop()
            if id_ not in found:
                found.add(id_)
                todo += self.instances[id_].upstream
        return found

    def descendants(self, ids: Sequence[str]) -> set[str]:
        """The given instances and everything that needs them."""
        found = set(ids)
        for instance in self.instances.values():  # each after those it needs
            if not found.isdisjoint(instance.upstream):
                found.add(instance.id)
        return found

    def select(self, name: str) -> list[str]:
        """Ids of a stage's instances, or the one instance named; ConfigError where there is none."""
        found = [i.id for i in self.instances.values() if name in (i.id, i.stage.name)]
        if not found:
            stages = list(self.spec.stages)
            near = nearest(name, [*stages, *self.instances])
            hint = f"did you mean {near}?" if near else f"stages: {listing(stages)}"
            raise ConfigError(f"no stage {name or shown(name)}", hint=hint)
        return found
