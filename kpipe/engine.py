"""Runs the instances of a DAG: looks each up, runs what is missing, commits what finished."""

from __future__ import annotations

import time
from pathlib import Path

from kpipe.commit import commit
from kpipe.dag import Instance
from kpipe.dispatch import make_task, missing_gpus
from kpipe.errors import StageFailed
from kpipe.outcome import Listener, Outcome, Running
from kpipe.plan import Hit, Miss, Planner
from kpipe.task import Event, Executor, failure

POLL_S = 0.2  # how often to look whether another process has finished a key


class Run:
    """One `kpipe run`: brings instances up to date, as many at a time as there are jobs."""

    def __init__(
        self, planner: Planner, executor: Executor, listener: Listener, run_id: str, jobs: int = 1, keep_going: bool = False
    ) -> None:
        self.planner = planner
        self.store = planner.store
        self.executor = executor
        self.listener = listener
        self.run_id = run_id
        self.jobs = jobs
        self.keep_going = keep_going
        self.outcomes: dict[str, Outcome] = {}
        self.running: dict[str, Running] = {}
        self._elsewhere: set[str] = set()  # instances whose key another process computes

    def execute(self, ids: set[str]) -> dict[str, Outcome]:
        """Bring the selected instances up to date; their outcomes in the DAG's order."""
        selected = [i for i in self.planner.dag.instances.values() if i.id in ids]
        try:
            while any(i.id not in self.outcomes for i in selected):
                advanced = [self._advance(i) for i in selected if i.id not in self.outcomes and i.id not in self.running]
                if self.running:
                    for event in self.executor.wait():
                        self._handle(event)
                elif not any(advanced):
                    time.sleep(POLL_S)
        finally:
            self.executor.cancel()
            for running in self.running.values():
                running.claim.close()
        return {i.id: self.outcomes[i.id] for i in selected}

    def _advance(self, instance: Instance) -> bool:
        """Settle or start an instance where that is possible now."""
        if not self.keep_going and any(o.status == "failed" for o in self.outcomes.values()):
            return self._settle(Outcome(instance, "not run"))
        if any(id_ not in self.outcomes for id_ in instance.upstream):
            return False
        outputs = {id_: self.outcomes[id_].output for id_ in instance.upstream if self.outcomes[id_].output}
        if len(outputs) < len(instance.upstream) and not (instance.stage.gather and outputs):
            return self._settle(Outcome(instance, "not run"))
        found = self.planner.lookup(instance, self.planner.key(instance, outputs))
        if isinstance(found, Hit):
            return self._settle(Outcome(instance, "cached", found.key, found.record))
        if len(self.running) >= self.jobs or any(r.key == found.key for r in self.running.values()):
            return False
        return self._start(instance, found)

    def _start(self, instance: Instance, miss: Miss) -> bool:
        """Give an instance to the executor, unless another process has its key or its inputs are damaged."""
        if self._set_aside_damaged(instance):
            return True
        claim = self.store.claim(miss.key.digest)
        if claim is None:
            if instance.id not in self._elsewhere:
                self._elsewhere.add(instance.id)
                self.listener.waiting(instance)
            return False
        if instance.id not in self.planner.force and self.store.record(miss.key.digest) and not miss.damaged:
            claim.close()  # another process finished it between our look and our claim
            return True
        task = make_task(self.planner, instance, miss.key, self.outcomes, self.run_id)
        self.running[instance.id] = Running(instance, miss.key, task, claim, miss.reasons)
        self.listener.started(instance, miss.reasons)
        notice = missing_gpus(instance, task)
        if notice:
            self._handle(Event(instance.id, "notice", {"text": notice}))
        self.executor.submit(task)
        return True

    def _set_aside_damaged(self, instance: Instance) -> bool:
        """Check the contents of all that the stage will read; what is damaged is quarantined and will be made again."""
        damaged = [id_ for id_ in instance.upstream if (o := self.outcomes[id_].output) and self.store.fault(o, contents=True)]
        for id_ in damaged:
            self.store.quarantine(self.outcomes.pop(id_).output)
        return bool(damaged)

    def _handle(self, event: Event) -> None:
        running = self.running.get(event.task)
        if running is None:
            return
        if event.kind in ("done", "failed"):
            del self.running[event.task]
            try:
                self._settle(self._finish(running, event))
            finally:
                running.claim.close()
            return
        if event.kind == "measure":
            running.measures.update(event.data["numbers"])
        elif event.kind == "notice":
            running.notices.append(event.data["text"])
        self.listener.event(running.instance, event)

    def _finish(self, running: Running, event: Event) -> Outcome:
        """Commit what a task gave, or say why there is nothing to commit."""
        instance, log = running.instance, Path(running.task.log)
        try:
            if event.kind == "failed":
                raise failure(event, log)
            record = commit(self.planner, running, event.data.get("loaded", {}))
        except StageFailed as e:
            e.log = log
            self.store.discard(Path(running.task.out))
            return Outcome(instance, "failed", running.key, error=e, reasons=running.reasons, log=log)
        return Outcome(instance, "done", running.key, record, reasons=running.reasons, log=log)

    def _settle(self, outcome: Outcome) -> bool:
        self.outcomes[outcome.instance.id] = outcome
        news = {"log": str(outcome.log)} if outcome.log else {}
        if outcome.record and outcome.key:
            news["key"] = outcome.key.digest
        if news:
            self.planner.remember(outcome.instance.id, news)
        self.listener.settled(outcome)
        return True
