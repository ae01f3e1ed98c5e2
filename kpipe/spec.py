"""The pipeline file as data: its stages, its matrix, and every structural mistake in it at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kpipe.backends import choose_backend
from kpipe.digest import digest_value
from kpipe.errors import ConfigError, Problem
from kpipe.matrix import Matrix, read_matrix
from kpipe.needs import check_needs, read_needs
from kpipe.references import is_open
from kpipe.tomlfile import apply_overrides, check_keys, read_toml, section, shown

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
LEAST = {"retries": 0, "timeout": 1, "gpus": 0}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
SIGNS = "letters, digits, _ and -, at most 100"


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
        given = os.environ.get("KPIPE_STORE") or self.root / ".kpipe"
        try:
            return Path(given).expanduser().absolute()
        except RuntimeError:
            raise ConfigError(f"KPIPE_STORE={given}: there is no such user", hint="an absolute path, or ~/...") from None


def load(file: Path, overrides: Sequence[str] = ()) -> Spec:
    """Read a pipeline file; a syntax error is a ConfigError, all other mistakes are the Spec's problems."""
    table = apply_overrides(read_toml(file), overrides)
    problems: list[Problem] = []
    check_keys(table, SECTIONS, (), problems)
    pipeline, stages = section(table, "pipeline"), section(table, "stages")
    check_keys(pipeline, PIPELINE_KEYS, ("pipeline",), problems)
    name = pipeline.get("name", file.stem)
    if isinstance(name, str) and not NAME.fullmatch(name):
        says, hint = f"name = {shown(name)}", SIGNS
        if "name" not in pipeline:
            says, hint = f"the file's name {shown(name)}", f'[pipeline] name = "..."; {SIGNS}'
        problems.append(Problem(f"{says} cannot name a report", ("pipeline", "name"), hint=hint))
    matrix = read_matrix(section(table, "matrix"), problems)
    backend, matrix, notices = choose_backend(pipeline, matrix, problems)
    read = {key: read_stage(key, value, problems) for key, value in stages.items()}
    if not stages and isinstance(table.get("stages", {}), dict):
        problems.append(
            Problem("the file declares no stage", ("stages",), on="key", hint='[stages.ingest] with run = "stages.ingest"')
        )
    check_needs(read, problems)
    sound = {key: replace(stage, needs=tuple(n for n in stage.needs if n in read and n != key)) for key, stage in read.items()}
    return Spec(file.absolute(), str(name), backend, matrix, sound, tuple(overrides), notices, tuple(problems))


def read_stage(name: str, table: Any, problems: list[Problem]) -> StageSpec:
    """One stage; mistakes are added to `problems`."""
    at = ("stages", name)
    if not NAME.fullmatch(name):
        problems.append(Problem(f"stage name {shown(name)} cannot name a folder", at, on="key", hint=SIGNS))
    if not isinstance(table, dict):
        problems.append(Problem(f"stage {name} must be a table, not {shown(table)}", at, hint=f"[stages.{name}]"))
        return StageSpec(name, "")
    check_keys(table, STAGE_KEYS, at, problems)
    check_keys(section(table, "resources"), RESOURCE_KEYS, (*at, "resources"), problems)
    run, params = read_run(name, table, problems), section(table, "params")
    for key, value in params.items():
        if is_open(value):
            problems.append(Problem(f"{key} = {shown(value)}: ${{ is not closed with }}", (*at, "params", key)))
    return StageSpec(
        name=name,
        run=run if isinstance(table.get("params", {}), dict) else "",  # without its parameters it cannot be checked further
        needs=read_needs(table.get("needs"), (*at, "needs"), problems),
        gather=table.get("gather") is True,
        params=params,
        resources=limits(section(table, "resources"), (*at, "resources"), problems, "gpus"),
        **limits(table, at, problems, "retries", "timeout"),
    )


def read_run(name: str, table: Mapping[str, Any], problems: list[Problem]) -> str:
    """The dotted name of a stage's module; empty where there is none, which is reported."""
    run, at = table.get("run", ""), ("stages", name, "run")
    if not isinstance(run, str):
        return ""
    words = re.split(r"[./\\]+", run.partition(":")[0].removesuffix(".py").lstrip("./"))
    dotted = ".".join(words) if all(w.isidentifier() and len(w) <= 100 for w in words) else f"stages.{name}"
    if not run:
        problems.append(Problem(f"stage {name} does not say what it runs", at, on="key", hint=f'run = "{dotted}"'))
    elif run != dotted:
        says = f"run = {shown(run)} is not the dotted name of a module"
        problems.append(Problem(says, at, hint=f'run = "{dotted}"'))
        return ""
    return run


def limits(table: Mapping[str, Any], at: tuple[str, ...], problems: list[Problem], *keys: str) -> dict[str, int]:
    """The values of keys that have a least value, as far as they are whole numbers."""
    found = {}
    for key in keys:
        value, least = table.get(key), LEAST[key]
        if isinstance(value, int) and not isinstance(value, bool):
            found[key] = max(value, least)
            if value < least:
                problems.append(Problem(f"{key} must be at least {least}, not {value}", (*at, key)))
    return found
