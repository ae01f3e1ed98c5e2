"""What would run, and why: the one place where a key is built and looked up. plan, explain and run print its objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kpipe.dag import Dag, Instance
from kpipe.errors import RemoteError
from kpipe.explain import Change, changes
from kpipe.identity import forget_versions, surroundings
from kpipe.key import Key
from kpipe.parameters import Parameters
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
    def damaged(self) -> str | None:
        """Digest of the artifact that was there and no longer is what was stored."""
        return next((str(c.old) for c in self.reasons if c.kind == "damaged"), None)


@dataclass(frozen=True)
class Pending:
    """Not known yet: it depends on the output of stages that have to run first."""

    upstream: tuple[str, ...]
    reasons: tuple[Change, ...]  # what is already known to differ, whatever they give


Status = Hit | Miss | Pending


class Planner:
    """Keys and look-ups for the instances of one DAG, in the surroundings of one moment."""

    def __init__(self, dag: Dag, store: Store, force: frozenset[str] = frozenset()) -> None:
        self.dag = dag
        self.store = store
        self.force = force
        self.head = store.head(dag.spec.identity)
        self._news: dict[str, dict[str, str]] = {}
        self._files: dict[str, dict[str, str] | RemoteError] = {}
        self._surroundings: dict[tuple[frozenset[str], str | None], dict[str, Any]] = {}
        forget_versions()

    def key(self, instance: Instance, outputs: Mapping[str, str]) -> Key:
        """The key of an instance whose needs gave these outputs (instance id -> digest)."""
        return Key(
            stage=instance.stage.run,
            params=instance.parameters.values,
            files=self._digests(instance.parameters),
            inputs={need: outputs[id_] for need, id_ in instance.inputs.items()},
            branches=tuple(
                {
                    "axes": [list(pair) for pair in axes.items()],
                    "inputs": {need: outputs[id_] for need, id_ in inputs.items() if id_ in outputs},
                }
                for axes, inputs in instance.branches
            ),
            code=instance.closure.digest,
            **self._outside(instance),
        )

    def _digests(self, parameters: Parameters) -> dict[str, str]:
        """Digests of what parameters name, looked at once for all instances that name the same."""
        if not (parameters.paths or parameters.sources or parameters.pretrained):
            return {}
        name = repr((parameters.paths, parameters.sources, parameters.pretrained))
        if name not in self._files:
            try:
                self._files[name] = parameters.digests(self.store.files)
            except RemoteError as e:
                self._files[name] = e
        found = self._files[name]
        if isinstance(found, RemoteError):
            raise found
        return found

    def look(self, instances: Iterable[Instance]) -> None:
        """See what lies behind URLs, which may take long; what is wrong there is told when a key is asked for."""
        for instance in instances:
            if instance.parameters.sources:
                with suppress(RemoteError):
                    self._digests(instance.parameters)

    def _outside(self, instance: Instance) -> dict[str, Any]:
        """Versions and settings that the instance's code depends on."""
        of = (instance.closure.imports, instance.backend)
        if of not in self._surroundings:
            self._surroundings[of] = surroundings(*of)
        return self._surroundings[of]

    def lookup(self, instance: Instance, key: Key) -> Hit | Miss:
        """Whether the store has a key's artifact, whole."""
        record = self.store.record(key.digest)
        if record is None:
            torn = self.store.record_path(key.digest).exists()
            return Miss(key, (Change("new", "its record was damaged"),) if torn else self.reasons(instance, key))
        if instance.id in self.force:
            return Miss(key, (Change("forced", "--force"),))
        fault = self.store.fault(str(record["output_digest"]), contents=instance.stage.gather)  # it is exported without a reader
        if fault:
            return Miss(key, (Change("damaged", fault, old=record["output_digest"]),))
        return Hit(key, record)

    def reasons(self, instance: Instance, key: Key) -> tuple[Change, ...]:
        """How a key differs from the one of the instance's last run."""
        previous = self.previous(instance.id)
        if previous is None:
            return (Change("new", "the record of its last run is gone" if instance.id in self.head else "not run before"),)
        return changes(self.store.key_of(previous), key.as_json() | {"code": instance.closure.code})

    def previous(self, id_: str) -> dict[str, Any] | None:
        """The record of an instance's last run."""
        return self.store.record(self.head[id_].get("key", "")) if id_ in self.head else None

    def remember(self, id_: str, change: dict[str, str]) -> None:
        """Note what an instance was last run with; `save` keeps it."""
        self._news[id_] = change

    def save(self) -> None:
        """Write what was noted."""
        self.store.set_head(self.dag.spec.identity, self._news)

    def status(self, instance: Instance, known: Mapping[str, Status]) -> Status:
        """What would happen to an instance, given its needs' statuses."""
        needs = {id_: known[id_] for id_ in instance.upstream}
        outputs = {id_: hit.output for id_, hit in needs.items() if isinstance(hit, Hit)}
        if len(outputs) == len(needs):
            return self.lookup(instance, self.key(instance, outputs))
        open_ = tuple(id_ for id_ in needs if id_ not in outputs)
        return Pending(open_, self._certain(instance, dict.fromkeys(open_, "?") | outputs))

    def _certain(self, instance: Instance, outputs: Mapping[str, str]) -> tuple[Change, ...]:
        """Changes of an instance's own that no output of its needs can undo."""
        if instance.id not in self.head:
            return (Change("new", "not run before"),)
        return tuple(c for c in self.reasons(instance, self.key(instance, outputs)) if not c.about_input)

    def plan(self, ids: set[str]) -> dict[str, Status]:
        """Status of the selected instances, in the DAG's order."""
        found: dict[str, Status] = {}
        for instance in self.dag.instances.values():
            if instance.id in ids:
                found[instance.id] = self.status(instance, found)
        return found
