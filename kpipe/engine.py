"""Runs the instances of a DAG: looks each up, runs what is missing, commits what finished."""

from __future__ import annotations

import time
from pathlib import Path

from kpipe.commit import commit, drop_spoiled_scratch
from kpipe.dag import Instance
from kpipe.dispatch import make_task, missing_gpus
from kpipe.errors import RemoteError, StageFailed
from kpipe.explain import Change
from kpipe.frontier import Frontier
from kpipe.outcome import Listener, Outcome, Running, patience
from kpipe.plan import Hit, Miss, Planner
from kpipe.slots import Slots
from kpipe.task import Event, Executor, failure, too_slow

POLL_S = 0.2  # how often to look whether another process has finished a key


class Run:
    """One `kpipe run`: brings instances up to date, as many at a time as there are slots."""

    def __init__(
        self, planner: Planner, executor: Executor, listener: Listener, run_id: str, jobs: int = 1, keep_going: bool = False
    ) -> None:
        self.planner = planner
        self.store = planner.store
        self.executor = executor
        self.listener = listener
        self.run_id = run_id
        self.keep_going = keep_going
        self.outcomes: dict[str, Outcome] = {}
        self.running: dict[str, Running] = {}
        self._slots = Slots(jobs)
        self._misses: dict[str, Miss] = {}  # looked up and waiting for a slot
        self._doubtful: set[str] = set()  # instances whose key somebody computes: the miss may have become a hit
        self._failed = False
        self._warm: str | None = None  # the backend of the task that ended last: a worker that has imported it is idle

    def execute(self, ids: set[str]) -> dict[str, Outcome]:
        """Bring the selected instances up to date; their outcomes in the DAG's order."""
        selected = [i for i in self.planner.dag.instances.values() if i.id in ids]
        self.frontier = Frontier(selected)
        try:
            while self.frontier.ready or self.running:
                with self.store.using():
                    advanced = [self._advance(i) for i in self.frontier.in_order(self._warm) if i.id in self.frontier.ready]
                if self.running:
                    for event in self.executor.wait(patience(self.running.values(), POLL_S if self._doubtful else None)):
                        self._handle(event)
                    self._stop_overdue()
                elif not any(advanced):
                    time.sleep(POLL_S)
        finally:
            self.executor.cancel()
            for running in self.running.values():
                drop_spoiled_scratch(self.planner, running)
                running.claim.close()
        return {i.id: self.outcomes[i.id] for i in selected}

    def _advance(self, instance: Instance) -> bool:
        """Settle or start an instance whose needs are settled, where that is possible now."""
        if self._failed and not self.keep_going:
            return self._settle(Outcome(instance, "not run"))
        outputs = {id_: output for id_ in instance.upstream if (output := self.outcomes[id_].output)}
        if len(outputs) < len(instance.upstream) and not (instance.stage.gather and outputs):
            return self._settle(Outcome(instance, "not run"))
        miss = self._misses.get(instance.id)
        if miss and any(running.key == miss.key for running in self.running.values()):
            self._doubtful.add(instance.id)
            return False
        if miss is None or instance.id in self._doubtful:
            try:
                found = self.planner.lookup(instance, self.planner.key(instance, outputs))
            except RemoteError as e:
                return self._settle(Outcome(instance, "failed", error=StageFailed(instance.id, e.message, hint=e.hint)))
            if isinstance(found, Hit):
                return self._settle(Outcome(instance, "cached", found.key, found.record))
            miss = self._misses[instance.id] = found
        return self._slots.fit(instance) and self._start(instance, miss)

    def _start(self, instance: Instance, miss: Miss) -> bool:
        """Give an instance to the executor, unless another process has its key or its inputs are damaged."""
        damaged = [id_ for id_ in instance.upstream if self._damaged(id_)]
        if damaged:
            return True
        claim = self.store.claim(miss.key.digest)
        if claim is None:
            if instance.id not in self._doubtful:
                self._doubtful.add(instance.id)
                self.listener.waiting(instance)
            return False
        fault, whole = self.store.put_right(miss.damaged) if miss.damaged else (None, True)
        if fault:
            what = "what does not belong into its artifact" if whole else "its damaged artifact"
            self.listener.notice(instance.id, f"{what} was set aside in the store's quarantine")
        if self.store.record(miss.key.digest) and instance.id not in self.planner.force and whole:
            claim.close()  # another process finished it between our look and our claim, or only strange files were in it
            self._doubtful.add(instance.id)
            return True
        self.frontier.started(instance.id)
        self._misses.pop(instance.id)
        running = Running(instance, miss.key, claim, miss.reasons, self._slots.take(instance))
        self.running[instance.id] = running
        self.listener.started(instance, miss.reasons)
        self._submit(running)
        return True

    def _submit(self, running: Running) -> None:
        """Begin an attempt at a task."""
        running.begin(make_task(self.planner, running, self.outcomes, self.run_id))
        self.executor.submit(running.task)
        notice = missing_gpus(running.instance, running.task)
        if notice:
            self._handle(Event(running.instance.id, "notice", {"text": notice}))

    def _damaged(self, id_: str) -> bool:
        """Check the content of an artifact that a stage will read; a damaged one is set aside and will be made again."""
        outcome = self.outcomes[id_]
        fault = self.store.fault(outcome.output, contents=True) if outcome.output else None
        if not fault or not outcome.key:
            return False
        self.store.put_right(outcome.output)
        self.listener.notice(id_, f"{fault}: set aside in the store's quarantine")
        del self.outcomes[id_]
        self.frontier.reopened(id_, self.outcomes.keys() | self.running.keys())
        self._misses[id_] = Miss(outcome.key, (Change("damaged", fault, old=outcome.output),))
        return True

    def _stop_overdue(self) -> None:
        """End the attempts that take longer than their stage's timeout."""
        for running in list(self.running.values()):
            if running.deadline and time.monotonic() >= running.deadline:
                self.executor.cancel(running.task)
                self._handle(too_slow(running.task, running.instance.stage.timeout))

    def _handle(self, event: Event) -> None:
        running = self.running.get(event.task)
        if running is None:
            return
        if event.kind == "failed" and running.may_retry(event):
            self.store.discard(Path(running.task.out))
            drop_spoiled_scratch(self.planner, running)
            running.notices.append(f"attempt {running.attempt} failed: {event.data['message']}")
            self.listener.notice(event.task, f"{running.notices[-1]}; it is tried again")
            self._submit(running)
        elif event.kind in ("done", "failed"):
            del self.running[event.task]
            self._warm = running.instance.backend
            self._slots.give_back(running.gpus)
            try:
                self._settle(self._finish(running, event))
            finally:
                running.claim.close()
        else:
            running.note(event)
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
            drop_spoiled_scratch(self.planner, running)
            self.store.discard(Path(running.task.out))
            return Outcome(instance, "failed", running.key, error=e, reasons=running.reasons, log=log)
        return Outcome(instance, "done", running.key, record, reasons=running.reasons, log=log)

    def _settle(self, outcome: Outcome) -> bool:
        id_ = outcome.instance.id
        self.outcomes[id_] = outcome
        self._failed |= outcome.status == "failed"
        self._misses.pop(id_, None)
        self._doubtful.discard(id_)
        self.frontier.settled(id_)
        if outcome.output:
            self.store.hold([outcome.output])
        news = {"log": str(outcome.log)} if outcome.log else {}
        if outcome.record and outcome.key:
            news["key"] = outcome.key.digest
        if news:
            self.planner.remember(id_, news)
        self.listener.settled(outcome)
        return True
