"""A stage's parameters: the file's values held against the signature of run(), without importing it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpipe.closure import Project
from kpipe.digest import digest_file
from kpipe.errors import ConfigError, Problem, listing, nearest
from kpipe.folders import digest_path
from kpipe.identity import keras_home
from kpipe.matrix import Combination, Matrix
from kpipe.paths import path_problems
from kpipe.references import is_open, references, substitute
from kpipe.signature import REQUIRED, Annotations, Parameter, Type
from kpipe.spec import StageSpec
from kpipe.statcache import StatCache
from kpipe.tomlfile import shown
from kpipe.values import check, describe, fits, path_leaf

ANNOTATIONS = (
    'str, int, float, bool, Literal[...], list[...], Annotated[float, "0 <= x < 1"], a TypedDict of this module, '
    "File, Folder, Module[...], unions"
)


@dataclass(frozen=True)
class Parameters:
    """What one stage instance is called with."""

    values: Mapping[str, Any] = field(default_factory=dict)  # every parameter, as written, defaults filled in
    paths: Mapping[str, Path] = field(default_factory=dict)  # those that name a file or folder
    modules: Mapping[str, str] = field(default_factory=dict)  # value of a Module parameter -> dotted name
    pretrained: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # parameter -> {"file", "md5"}

    def digests(self, cache: StatCache) -> dict[str, str]:
        """Content digest of everything outside the project that a parameter names, as it is now."""
        found = {name: digest_path(path, cache) for name, path in self.paths.items()}
        for name, published in self.pretrained.items():
            file = keras_home() / "models" / published["file"]
            found[name] = "md5:" + (digest_file(file, cache, "md5") if file.is_file() else published["md5"])
        return found


def signature(project: Project, module: str) -> dict[str, Parameter]:
    """The parameters of a stage's run(); ConfigError where it has none the door can serve."""
    path = project.path(module)
    found = project.facts(module)
    if found["run_error"]:
        line, column, length, message = found["run_error"]
        raise ConfigError([Problem(f"{module}: {message}", file=path, line=line, column=column, length=length)])
    annotations = Annotations(project.modules, found["tables"])
    parameters = {}
    problems: list[Problem] = []
    for row in found["run"] or []:
        default = row.get("default", REQUIRED)
        try:
            type_ = annotations.parse(row["annotation"])
        except (ValueError, SyntaxError) as e:
            says = f"{module}: parameter {row['name']}: {e}"
            problems.append(Problem(says, hint=ANNOTATIONS, file=path, **place(getattr(e, "at", row["at"]))))
            continue
        if default is not REQUIRED and not fits(default, type_):
            says = f"{module}: the default of parameter {row['name']} is not what its annotation allows"
            problems.append(Problem(says, hint=f"allowed: {describe(type_)}", file=path, **place(row["at"])))
        parameters[row["name"]] = Parameter(row["name"], type_, default)
    if problems:
        raise ConfigError(problems)
    return parameters


def place(at: Sequence[int]) -> dict[str, Any]:
    """The place of a thing in a source, as contract.span gives it, for a Problem."""
    return dict(zip(("line", "column", "length"), at, strict=True))


def check_names(stage: StageSpec, known: Mapping[str, Parameter]) -> Iterator[Problem]:
    """Parameters that run() does not have, and those it needs and did not get."""
    at = ("stages", stage.name, "params")
    meant = set()
    for name in stage.params:
        if name not in known:
            near = nearest(name, known)
            meant.add(near)
            hint = f"did you mean {near}?" if near else f"parameters of {stage.run}: {listing(known)}"
            yield Problem(f"stage {stage.name} has no parameter {name}", (*at, name), on="key", hint=hint)
    missing = [p.name for p in known.values() if p.default is REQUIRED and p.name not in {*stage.params, *meant}]
    if missing:
        where = at if stage.params else at[:2]
        yield Problem(f"stage {stage.name} needs the parameter {listing(missing)}", where, on="key", hint=f"{missing[0]} = ...")


@dataclass(frozen=True)
class Resolver:
    """Fills in the parameters of one stage's instances; mistakes are added to `problems`."""

    project: Project
    stage: StageSpec
    known: Mapping[str, Parameter]
    matrix: Matrix
    problems: list[Problem]

    def resolve(self, combination: Combination) -> Parameters:
        """Values of one instance: ${axis} replaced, defaults filled in, types, ranges and paths checked."""
        values = {name: value for name in self.known for value in self._value(name, combination)}
        paths: dict[str, Path] = {}
        modules: dict[str, str] = {}
        for name, value in values.items():
            type_ = self.known[name].type
            if path_leaf(value, type_):
                paths[name] = self.project.root / os.path.expanduser(value)
                self.problems.extend(path_problems(self.project.root, paths[name], type_, name, value, self._at(name)))
            modules.update(
                (value, f"{leaf.text}.{value}") for leaf in type_.leaves() if leaf.kind == "module" and fits(value, leaf)
            )
        wanted = [name for name, value in values.items() if is_pretrained(value, self.known[name].type)]
        return Parameters(values, paths, modules, {name: published(self.project, modules, values[name]) for name in wanted})

    def _at(self, name: str) -> tuple[str | int, ...]:
        return ("stages", self.stage.name, "params", name)

    def _value(self, name: str, combination: Combination) -> Iterator[Any]:
        """The parameter's value; nothing where it has none that is allowed."""
        parameter = self.known[name]
        if name not in self.stage.params:
            if parameter.default is not REQUIRED:
                yield parameter.default
            return
        raw = self.stage.params[name]
        if is_open(raw):
            return  # reported where the file was read
        try:
            value = substitute(raw, combination)
        except KeyError:
            self.problems.extend(undefined(raw, combination, self.matrix, self._at(name)))
            return
        found = check(value, parameter.type)
        for mismatch in found:
            on = "key" if mismatch.unknown or mismatch.missing else "value"
            at = (*self._at(name), *mismatch.at)
            self.problems.append(Problem(mismatch.says(name, raw, value), at, on=on, hint=mismatch.hint))
        if not found:
            yield value


def is_pretrained(value: Any, type_: Type) -> bool:
    """Whether a value names published weights."""
    return any(leaf.kind == "pretrained" and fits(value, leaf) for leaf in type_.leaves())


def undefined(raw: Any, combination: Combination, matrix: Matrix, at: tuple[str | int, ...]) -> Iterator[Problem]:
    """Problems of references that a combination does not define (an axis that does not exist is the DAG's to report)."""
    for reference in references(raw):
        axis, _, key = reference.partition(".")
        if axis in combination and key not in ("", *dict(combination[axis].fields)):
            values = {str(c[axis].name): c[axis] for c in matrix.combinations if axis in c}.values()
            lacking = [shown(v.name) for v in values if key not in dict(v.fields)]
            fields = list(dict.fromkeys(name for v in values for name, _ in v.fields))
            near = nearest(key, fields)
            add = f"{axis} = [{{ name = {lacking[0]}, {key} = ... }}]"
            hint = f"did you mean ${{{axis}.{near}}}?" if near and near != key else add
            yield Problem(f"${{{reference}}}: axis {axis} has no field {key} in {listing(lacking)}", at, hint=hint)
        elif axis not in combination and axis in matrix.extras:
            yield Problem(f"${{{reference}}} is not defined for {listing(v.name for v in combination.values())}", at)


def published(project: Project, modules: Mapping[str, str], name: str) -> Mapping[str, str]:
    """What the chosen backbone's module says of its published weights: NAME = {"file": ..., "md5": ...}."""
    for module in modules.values():
        found = project.facts(module)["constants"].get(name.upper())
        if isinstance(found, dict):
            return found
    raise ConfigError(
        f"{listing(modules.values())} does not say which file its {name} weights are", hint=f"{name.upper()} = {{...}}"
    )
