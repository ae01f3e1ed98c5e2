"""What would run, and why: the one place where a key is built and looked up. plan, explain and run print its objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kpipe.dag import Dag, Instance
from kpipe.explain import Change, changes
from kpipe.identity import surroundings
from kpipe.key import Key
from kpipe.store import Store


@dataclass(frozen=True)
class Hit:
    """The artifact is in the store."""

    key: Key
    record: Mapping[str, Any]

    @property
    def output(self) -> str:
        """Digest of the artifact."""
        return str(self.record["output_digest"])


@dataclass(frozen=True)
class Miss:
    """The stage has to run, and why."""

    key: Key
    reasons: tuple[Change, ...]

    @property
    def damaged(self) -> bool:
        """Whether there was an artifact that no longer is what was stored."""
        return any(c.kind == "damaged" for c in self.reasons)


@dataclass(frozen=True)
class Pending:
    """Not known yet: it depends on the output of stages that have to run first."""

    upstream: tuple[str, ...]
    reasons: tuple[Change, ...]  # what is already known to differ, whatever they give


Status = Hit | Miss | Pending


class Planner:
    """Keys and look-ups for the instances of one DAG."""

    def __init__(self, dag: Dag, store: Store, force: frozenset[str] = frozenset()) -> None:
        self.dag = dag
        self.store = store
        self.force = force
        self.head = store.head(dag.spec.name)
        self._news: dict[str, dict[str, str]] = {}

    def key(self, instance: Instance, outputs: Mapping[str, str]) -> Key:
        """The key of an instance whose needs gave these outputs (instance id -> digest)."""
        return Key(
            stage=instance.stage.run,
            params=instance.parameters.values,
            files=instance.parameters.digests(self.store.files),
            inputs={need: outputs[id_] for need, id_ in instance.inputs.items()},
            branches=tuple(
                {
                    "axes": [list(pair) for pair in axes.items()],
                    "inputs": {need: outputs[id_] for need, id_ in inputs.items() if id_ in outputs},
                }
                for axes, inputs in instance.branches
            ),
            code=instance.closure.code,
            **surroundings(instance.closure.imports, instance.backend),
        )

    def lookup(self, instance: Instance, key: Key) -> Hit | Miss:
        """Whether the store has a key's artifact, whole."""
        record = self.store.record(key.digest)
        if record is None:
            return Miss(key, self.reasons(instance, key))
        if instance.id in self.force:
            return Miss(key, (Change("forced", "--force"),))
        fault = self.store.fault(str(record["output_digest"]))
        if fault:
            return Miss(key, (Change("damaged", fault),))
        return Hit(key, record)

    def reasons(self, instance: Instance, key: Key) -> tuple[Change, ...]:
        """How a key differs from the one of the instance's last run."""
        previous = self.previous(instance.id)
        return changes(previous["key"], key.as_json()) if previous else (Change("new", "not run before"),)

    def previous(self, id_: str) -> dict[str, Any] | None:
        """The record of an instance's last run."""
        return self.store.record(self.head.get(id_, {}).get("key", ""))

    def remember(self, id_: str, change: dict[str, str]) -> None:
        """Note what an instance was last run with; `save` keeps it."""
        self._news[id_] = change

    def save(self) -> None:
        """Write what was noted."""
        self.store.set_head(self.dag.spec.name, self._news)

    def status(self, instance: Instance, known: Mapping[str, Status]) -> Status:
        """What would happen to an instance, given its needs' statuses."""
        open_ = [id_ for id_ in instance.upstream if not isinstance(known[id_], Hit)]
        if not open_:
            outputs = {id_: hit.output for id_, hit in known.items() if isinstance(hit, Hit)}
            return self.lookup(instance, self.key(instance, outputs))
        return Pending(tuple(open_), self._certain(instance, known))

    def _certain(self, instance: Instance, known: Mapping[str, Status]) -> tuple[Change, ...]:
        """Changes of an instance's own that no output of its needs can undo."""
        stand_in = {id_: hit.output if isinstance(hit, Hit) else "?" for id_, hit in known.items()}
        found = self.reasons(instance, self.key(instance, stand_in))
        return tuple(c for c in found if not c.about_input)

    def plan(self, ids: set[str]) -> dict[str, Status]:
        """Status of the selected instances, in the DAG's order."""
        found: dict[str, Status] = {}
        for instance in self.dag.instances.values():
            if instance.id in ids:
                found[instance.id] = self.status(instance, found)
        return found
