"""Which instances can be settled next: those whose needs are all settled."""

from __future__ import annotations

from collections.abc import Iterable

from kpipe.dag import Instance


class Frontier:
    """Keeps count of what each instance still waits for, so that an event costs as much as it changes."""

    def __init__(self, instances: Iterable[Instance]) -> None:
        self._instances = {i.id: i for i in instances}
        self._dependants: dict[str, list[str]] = {id_: [] for id_ in self._instances}
        self._open: dict[str, set[str]] = {}
        for instance in self._instances.values():
            self._open[instance.id] = set(instance.upstream)
            for id_ in instance.upstream:
                self._dependants[id_].append(instance.id)
        self.ready: dict[str, Instance] = {i.id: i for i in self._instances.values() if not self._open[i.id]}

    def in_order(self, warm: str | None) -> list[Instance]:
        """What is ready; first what an idle worker can do that has imported its backend: importing another takes seconds."""
        return sorted(self.ready.values(), key=lambda instance: instance.backend != warm)

    def started(self, id_: str) -> None:
        """An instance runs: it is no longer waiting."""
        self.ready.pop(id_, None)

    def settled(self, id_: str) -> None:
        """An instance is done with: what waited for it alone is ready."""
        self.ready.pop(id_, None)
        for dependant in self._dependants[id_]:
            self._open[dependant].discard(id_)
            if not self._open[dependant]:
                self.ready[dependant] = self._instances[dependant]

    def reopened(self, id_: str, settled: Iterable[str]) -> None:
        """An instance has to be made again: what is not settled waits for it anew."""
        self.ready[id_] = self._instances[id_]
        for dependant in set(self._dependants[id_]) - set(settled):
            self._open[dependant].add(id_)
            self.ready.pop(dependant, None)
