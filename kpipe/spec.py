"""The pipeline file as data: its stages, its matrix, and every structural mistake in it at once."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpipe.errors import ConfigError, Problem, listing, nearest
from kpipe.identity import BACKENDS
from kpipe.matrix import Matrix, read_matrix

SECTIONS: dict[str, type] = {"pipeline": dict, "matrix": dict, "stages": dict}
PIPELINE_KEYS: dict[str, type] = {"name": str, "backend": str}
STAGE_KEYS: dict[str, type] = {"run": str, "needs": list, "gather": bool, "params": dict, "resources": dict}
RESOURCE_KEYS: dict[str, type] = {"gpus": int}
WORDS = {str: "a string", list: "a list", bool: "true or false", dict: "a table", int: "a whole number"}
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

    @property
    def root(self) -> Path:
        """The folder that paths and dotted names are relative to."""
        return self.file.parent

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
    """Read a pipeline file; ConfigError lists the first syntax error or all other mistakes."""
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
        problems.append(Problem("the file declares no stage", hint="[stages.ingest] with run = \"stages.ingest\""))
    check_needs(read, problems)
    if problems:
        raise ConfigError(problems, file=file)
    return Spec(file.absolute(), name, backend, matrix, read, tuple(overrides), notices)


def read_toml(file: Path) -> dict[str, Any]:
    """The file's values; a syntax error keeps its line and column."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no pipeline file {file}", hint="kpipe run FILE; FILE is pipeline.toml where left out") from None
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{file} cannot be read: {e}") from None
    except tomllib.TOMLDecodeError as e:
        message, _, position = str(e).rpartition(" (at ")
        at = re.search(r"line (\d+), column (\d+)", position)
        last = file.read_text(encoding="utf-8").count("\n") + 1
        line, column = (int(at[1]), int(at[2])) if at else (last, 1)
        raise ConfigError([Problem(message or str(e), line=line, column=column)], file=file) from None


def apply_overrides(table: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The table with every --set KEY=VALUE put in; VALUE is TOML, or a plain string where it is not."""
    for override in overrides:
        path, equals, text = override.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"--set {override}: not of the form KEY=VALUE", hint="--set stages.train.params.epochs=3")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        place = table
        for key in keys[:-1]:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {override}: {key} is not a table")
        place[keys[-1]] = value
    return table


def section(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A sub-table, empty where it is missing or of another type (which check_keys reports)."""
    found = table.get(name, {})
    return found if isinstance(found, dict) else {}


def check_keys(table: Mapping[str, Any], known: Mapping[str, type], at: tuple[str | int, ...], problems: list[Problem]) -> None:
    """Report unknown keys and values of the wrong type."""
    for key, value in table.items():
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {near}?" if near else f"allowed here: {listing(known)}"
            problems.append(Problem(f"unknown key {key}", (*at, key), on="key", hint=hint))
        elif not isinstance(value, known[key]) or (isinstance(value, bool) and known[key] is int):
            problems.append(Problem(f"{key} must be {WORDS[known[key]]}, not {value!r}", (*at, key)))


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
    )


def check_needs(stages: Mapping[str, StageSpec], problems: list[Problem]) -> None:
    """Report needs that do not exist, a stage that needs itself, and a cycle as a -> b -> a."""
    for stage in stages.values():
        for i, need in enumerate(stage.needs):
            at = ("stages", stage.name, "needs", i)
            if need == stage.name:
                problems.append(Problem(f"stage {need} needs itself", at))
            elif need not in stages:
                near = nearest(need, stages)
                hint = f'did you mean "{near}"?' if near else f"stages: {listing(stages)}"
                problems.append(Problem(f"stage {stage.name} needs {need}, which is no stage", at, hint=hint))
    cycle = find_cycle({s.name: [n for n in s.needs if n != s.name and n in stages] for s in stages.values()})
    if cycle:
        problems.append(Problem("stages need each other in a circle: " + " -> ".join(cycle), ("stages", cycle[0], "needs")))


def find_cycle(needs: Mapping[str, Sequence[str]]) -> list[str] | None:
    """The first circle found, as a, b, a; None where there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        found = next((c for n in needs[name] if (c := visit(n, [*path, name]))), None)
        done.add(name)
        return found

    return next((c for name in needs if (c := visit(name, []))), None)


def choose_backend(
    pipeline: Mapping[str, Any], matrix: Matrix, problems: list[Problem]
) -> tuple[str, Matrix, tuple[str, ...]]:
    """The backend (KERAS_BACKEND wins), the matrix narrowed to it where it has a backend axis, and what to say."""
    wanted = os.environ.get("KERAS_BACKEND") or None
    if wanted and wanted not in BACKENDS:
        problems.append(Problem(f"KERAS_BACKEND={wanted}: kpipe runs on {' or '.join(BACKENDS)}", hint=f"KERAS_BACKEND={next(iter(BACKENDS))}"))
        return wanted, matrix, ()
    axis = [str(v.name) for v in matrix.axes.get("backend", ())]
    given = [(b, ("matrix", "backend", i)) for i, b in enumerate(axis)]
    given += [(str(pipeline["backend"]), ("pipeline", "backend"))] if "backend" in pipeline else []
    for name, at in given:
        if name not in BACKENDS:
            problems.append(Problem(f'backend "{name}": kpipe runs on {" or ".join(BACKENDS)}', at))
    if not axis:
        return wanted or pipeline.get("backend", "tensorflow"), matrix, ()
    if not wanted:
        return axis[0], matrix, ()
    if wanted not in axis:
        problems.append(Problem(f"KERAS_BACKEND={wanted} is not one of the file's backends: {listing(axis)}", ("matrix", "backend")))
        return wanted, matrix, ()
    return wanted, matrix.only("backend", wanted), (f"KERAS_BACKEND={wanted} picks one of the file's backends: {listing(axis)}",)
