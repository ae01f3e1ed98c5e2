"""A pipeline that was asked for: its DAG, its store, the instances to bring up to date, and doing so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kpipe import history
from kpipe.closure import Project
from kpipe.dag import Dag
from kpipe.engine import Run
from kpipe.errors import ConfigError, several
from kpipe.expand import build_dag
from kpipe.export import export
from kpipe.outcome import Listener, Outcome
from kpipe.plan import Hit, Pending, Planner
from kpipe.spec import load
from kpipe.store import Store, new_run_id, now
from kpipe.task import Executor


@dataclass(frozen=True)
class Request:
    """What a person asks for on the command line or in a notebook."""

    file: Path
    overrides: tuple[str, ...] = ()  # KEY=VALUE
    from_: str | None = None
    until: str | None = None
    only: str | None = None
    force: tuple[str, ...] = ()
    jobs: int = 1
    executor: str = "local"
    keep_going: bool = False
    debug: str | None = None
    verify: bool = False
    offline: bool = False


@dataclass(frozen=True)
class Finished:
    """What a run came to."""

    run_id: str
    outcomes: Mapping[str, Outcome]
    pages: list[Path]  # exported reports
    unwritable: str | None = None  # why the run is not in the history

    @property
    def failed(self) -> bool:
        """Whether a stage failed."""
        return any(o.error for o in self.outcomes.values())


class Pipeline:
    """A file that was read and found right, and its place in the store."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.spec = load(request.file, request.overrides)
        self.store = Store(self.spec.store, believe=not request.verify)
        self.dag = build_dag(self.spec, Project(self.spec.root, self.store.sources), request.offline)
        self.ids = chosen(self.dag, request)
        force = [*request.force, *([] if request.debug is None else [request.debug])]
        self.planner = Planner(self.dag, self.store, frozenset(id_ for name in force for id_ in self.dag.select(name)))

    @property
    def notices(self) -> list[str]:
        """What a person must know of the file, and of what is not looked at."""
        sources = {s.url.place: s for i in self.dag.instances.values() for s in i.parameters.sources.values() if s.offline}
        caches = self.store.root / "cache"
        return [*self.dag.notices, *(f"{s.url.shown} is taken as it was on {s.last(caches)}" for s in sources.values())]

    def run(self, told: Listener) -> Finished:
        """Bring the chosen instances up to date and export the reports."""
        needed = self.needed()
        self.planner.look(self.dag.instances[id_] for id_ in self.ids)  # before a run keeps the store from others
        started, run_id = now(), new_run_id()
        self.store.hold([run_id])  # its logs
        running = Run(self.planner, self._executor(), told, run_id, self.request.jobs, self.request.keep_going)
        try:
            outcomes = running.execute(self.ids | needed)
            pages = export(self.spec, self.store, outcomes)
        finally:
            unwritable = self._remember(run_id, started, running.outcomes, self.ids | needed)
        return Finished(run_id, outcomes, pages, unwritable)

    def needed(self) -> set[str]:
        """What the chosen instances need and are not to run; ConfigError where that is not up to date."""
        needed = self.dag.ancestors(list(self.ids)) - self.ids
        statuses = self.planner.plan(needed)
        stale = [id_ for id_, status in statuses.items() if not isinstance(status, Hit)]
        if stale:
            status = statuses[stale[0]]
            because = several(status.reasons) if not isinstance(status, (Hit, Pending)) else "what it needs is not"
            raise ConfigError(
                f"{several(stale)}: needed, not among the chosen stages, and not up to date ({because})",
                hint=f"kpipe run --until {self.dag.instances[stale[-1]].stage.name} makes what is needed",
            )
        return needed

    def _remember(self, run_id: str, started: str, outcomes: Mapping[str, Outcome], ids: set[str]) -> str | None:
        """Note what ran; a store that cannot be written to still serves what it has."""
        try:
            self.planner.save()
            history.append(self.store, self.spec, run_id, started, outcomes, [id_ for id_ in self.dag.instances if id_ in ids])
            self.store.close()
        except OSError as e:
            return f"the store {self.store.root} cannot be written ({e.strerror}): this run is not in its history"
        return None

    def _executor(self) -> Executor:
        """The executor asked for, imported only now; --debug runs its instances in this process."""
        from kpipe.executors.local import LocalExecutor

        if self.request.executor != "local":
            raise ConfigError(f"--executor {self.request.executor}: there is none of this name", hint="executors: local")
        local = LocalExecutor(self.request.jobs)
        if self.request.debug is None:
            return local
        from kpipe.executors.inline import InlineExecutor

        return InlineExecutor(frozenset(self.dag.select(self.request.debug)), local)


def chosen(dag: Dag, request: Request) -> set[str]:
    """Ids of the instances that a request is about."""
    ids = set(dag.instances)
    narrow: list[tuple[str, str | None, Callable[[list[str]], set[str]]]] = [
        ("--from", request.from_, dag.descendants),
        ("--until", request.until, dag.ancestors),
        ("--only", request.only, set),
        ("--debug", request.debug, dag.ancestors),
    ]
    given = [(f"{option} {name}", reach(dag.select(name))) for option, name, reach in narrow if name is not None]
    for _, reached in given:
        ids &= reached
    if not ids:
        options = " and ".join(option for option, _ in given)
        raise ConfigError(f"{options} leave no stage", hint="kpipe dag shows the order")
    return ids
