"""kpipe in a notebook or a script: from kpipe.notebook import run; result = run("pipeline.toml", set={...})."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpipe import console, metrics
from kpipe.errors import StageFailed
from kpipe.outcome import Outcome
from kpipe.pipeline import Finished, Pipeline, Request
from kpipe.progress import listener
from kpipe.tomlfile import as_toml

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class StageResult:
    """What became of one stage instance."""

    id: str  # "train[resnet50]"
    stage: str
    axes: Mapping[str, Any]
    status: str  # cached, done, failed or "not run"
    artifact: Path | None  # the folder of its output; read it, do not write to it
    seconds: float | None  # that the computation took, whenever it was
    error: StageFailed | None
    log: Path | None


@dataclass(frozen=True)
class Result:
    """What a run came to: `stages["train[resnet50]"].artifact`, `reports`, `metrics`."""

    run_id: str
    stages: Mapping[str, StageResult]
    reports: list[Path]
    notices: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[StageResult]:
        """The instances that failed."""
        return [stage for stage in self.stages.values() if stage.error]

    @cached_property
    def metrics(self) -> pandas.DataFrame:
        """One row an instance whose artifact has a metrics.json: its axes, and every number in it by its dotted path."""
        import pandas

        told = {id_: metrics.numbers(metrics.read(s.artifact)) for id_, s in self.stages.items() if s.artifact}
        rows = {id_: {**self.stages[id_].axes, **found} for id_, found in told.items() if found}
        return pandas.DataFrame.from_dict(rows, orient="index")


def run(
    file: str | Path = "pipeline.toml",
    *,
    set: Mapping[str, Any] | None = None,  # named as the command line's option
    from_: str | None = None,
    until: str | None = None,
    only: str | None = None,
    force: str | list[str] | tuple[str, ...] = (),
    jobs: int = 1,
    keep_going: bool = False,
    verify: bool = False,
    offline: bool = False,
    quiet: bool = False,
) -> Result:
    """Bring a pipeline up to date, as `kpipe run` does; progress goes to stderr unless `quiet`.

    `set` maps "stages.train.params.epochs" to a value. A mistake in the file raises kpipe.errors.ConfigError; a stage
    that fails does not raise: it is in `failed`.
    """
    request = Request(
        file=Path(file),
        overrides=tuple(f"{key}={as_toml(value)}" for key, value in (set or {}).items()),
        from_=from_,
        until=until,
        only=only,
        force=(force,) if isinstance(force, str) else tuple(force),
        jobs=jobs,
        keep_going=keep_going,
        verify=verify,
        offline=offline,
    )
    pipeline = Pipeline(request)
    with listener(pipeline.ids, quiet) as told:
        finished = pipeline.run(told)
    if not quiet:
        for outcome in finished.outcomes.values():
            if outcome.error:
                console.error(outcome.error)
    return result(pipeline, finished)


def result(pipeline: Pipeline, finished: Finished) -> Result:
    """What a person in a notebook is given."""
    notices = [*pipeline.notices, *([finished.unwritable] if finished.unwritable else [])]
    stages = {id_: stage_result(pipeline, outcome) for id_, outcome in finished.outcomes.items()}
    return Result(finished.run_id, stages, finished.pages, notices)


def stage_result(pipeline: Pipeline, outcome: Outcome) -> StageResult:
    """One instance's part of a result."""
    instance = outcome.instance
    return StageResult(
        id=instance.id,
        stage=instance.stage.name,
        axes=instance.axes,
        status=outcome.status,
        artifact=pipeline.store.object(outcome.output) if outcome.output else None,
        seconds=outcome.record["seconds"] if outcome.record else None,
        error=outcome.error,
        log=outcome.log,
    )
