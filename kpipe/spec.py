"""The pipeline file as data: its stages, its matrix, and every structural mistake in it at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kpipe.digest import digest_value
from kpipe.errors import Problem, listing
from kpipe.identity import BACKENDS
from kpipe.matrix import Matrix, read_matrix
from kpipe.needs import check_needs
from kpipe.tomlfile import apply_overrides, check_keys, read_toml, section

SECTIONS: dict[str, type] = {"pipeline": dict, "matrix": dict, "stages": dict}
PIPELINE_KEYS: dict[str, type] = {"name": str, "backend": str}
STAGE_KEYS: dict[str, type] = {
    "run": str,
    "needs": list,
    "gather": bool,
    "params": dict,
    "resources": dict,
    "retries": int,
    "timeout": int,
}
RESOURCE_KEYS: dict[str, type] = {"gpus": int}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class StageSpec:
    """One [stages.NAME] table."""

    name: str
    run: str
    needs: tuple[str, ...] = ()
    gather: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0  # further attempts after one that failed
    timeout: int = 0  # seconds an attempt may take; 0: any


@dataclass(frozen=True)
class Spec:
    """A pipeline file, structurally sound: stages in the file's order, the matrix expanded."""

    file: Path
    name: str
    backend: str
    matrix: Matrix
    stages: Mapping[str, StageSpec]
    overrides: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()  # reported together with what the DAG finds

    @property
    def root(self) -> Path:
        """The folder that paths and dotted names are relative to."""
        return self.file.parent

    @property
    def identity(self) -> str:
        """What tells this pipeline from others in its store: its name; in a store outside its folder, the folder too."""
        return self.name if self.root in self.store.parents else f"{self.name}-{digest_value(str(self.root))[:8]}"

    @property
    def backends(self) -> list[str]:
        """The backends this run uses, in name order."""
        axis = self.matrix.axes.get("backend")
        return sorted(str(v.name) for v in axis) if axis else [self.backend]

    @property
    def store(self) -> Path:
        """The folder of the cache."""
        return Path(os.environ.get("KPIPE_STORE") or self.root / ".kpipe").absolute()


def load(file: Path, overrides: Sequence[str] = ()) -> Spec:
    """Read a pipeline file; a syntax error is a ConfigError, all other mistakes are the Spec's problems."""
    table = apply_overrides(read_toml(file), overrides)
    problems: list[Problem] = []
    check_keys(table, SECTIONS, (), problems)
    pipeline, stages = section(table, "pipeline"), section(table, "stages")
    check_keys(pipeline, PIPELINE_KEYS, ("pipeline",), problems)
    name = pipeline.get("name", file.stem)
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        problems.append(Problem(f"name {name!r} cannot name a file", ("pipeline", "name"), hint="letters, digits, _ and -"))
    matrix = read_matrix(section(table, "matrix"), problems)
    backend, matrix, notices = choose_backend(pipeline, matrix, problems)
    read = {key: read_stage(key, value, problems) for key, value in stages.items()}
    if not stages:
        problems.append(Problem("the file declares no stage", hint='[stages.ingest] with run = "stages.ingest"'))
    check_needs(read, problems)
    sound = {key: replace(stage, needs=tuple(n for n in stage.needs if n in read and n != key)) for key, stage in read.items()}
    return Spec(file.absolute(), str(name), backend, matrix, sound, tuple(overrides), notices, tuple(problems))


def read_stage(name: str, table: Any, problems: list[Problem]) -> StageSpec:
    """One stage; mistakes are added to `problems`."""
    at = ("stages", name)
    if not NAME.fullmatch(name):
        problems.append(Problem(f"stage name {name!r} cannot name a folder", at, on="key", hint="letters, digits, _ and -"))
    if not isinstance(table, dict):
        problems.append(Problem(f"stage {name} must be a table", at))
        return StageSpec(name, "")
    check_keys(table, STAGE_KEYS, at, problems)
    check_keys(section(table, "resources"), RESOURCE_KEYS, (*at, "resources"), problems)
    if "run" not in table:
        problems.append(Problem(f"stage {name} does not say what it runs", at, on="key", hint=f'run = "stages.{name}"'))
    needs = table["needs"] if isinstance(table.get("needs"), list) else []
    return StageSpec(
        name=name,
        run=str(table.get("run", "")),
        needs=tuple(map(str, needs)),
        gather=table.get("gather") is True,
        params=section(table, "params"),
        resources=section(table, "resources"),
        **limits(table, at, problems),
    )


def limits(table: Mapping[str, Any], at: tuple[str, ...], problems: list[Problem]) -> dict[str, int]:
    """retries and timeout, as far as they are whole numbers in their range."""
    found = {}
    for key, least in (("retries", 0), ("timeout", 1)):
        value = table.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            found[key] = max(value, least)
            if value < least:
                problems.append(Problem(f"{key} must be at least {least}, not {value}", (*at, key)))
    return found


def choose_backend(pipeline: Mapping[str, Any], matrix: Matrix, problems: list[Problem]) -> tuple[str, Matrix, tuple[str, ...]]:
    """The backend (KERAS_BACKEND wins), the matrix narrowed to it where it has a backend axis, and what to say."""
    wanted = os.environ.get("KERAS_BACKEND") or None
    if wanted and wanted not in BACKENDS:
        problems.append(
            Problem(
                f"KERAS_BACKEND={wanted}: kpipe runs on {' or '.join(BACKENDS)}", hint=f"KERAS_BACKEND={next(iter(BACKENDS))}"
            )
        )
        return wanted, matrix, ()
    axis = [str(v.name) for v in matrix.axes.get("backend", ())]
    given: list[tuple[str, tuple[str | int, ...]]] = [(b, ("matrix", "backend", i)) for i, b in enumerate(axis)]
    given += [(str(pipeline["backend"]), ("pipeline", "backend"))] if "backend" in pipeline else []
    for name, at in given:
        if name not in BACKENDS:
            problems.append(Problem(f'backend "{name}": kpipe runs on {" or ".join(BACKENDS)}', at))
    if not axis:
        return wanted or pipeline.get("backend", "tensorflow"), matrix, ()
    if not wanted:
        return axis[0], matrix, ()
    if wanted not in axis:
        problems.append(
            Problem(f"KERAS_BACKEND={wanted} is not one of the file's backends: {listing(axis)}", ("matrix", "backend"))
        )
        return wanted, matrix, ()
    return wanted, matrix.only("backend", wanted), (f"KERAS_BACKEND={wanted} picks one of the file's backends: {listing(axis)}",)
