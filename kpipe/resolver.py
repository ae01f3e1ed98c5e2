"""Values of one stage instance: ${axis} replaced, defaults filled in, files, folders and URLs found."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpipe.closure import Project
from kpipe.errors import ConfigError, Problem, listing, nearest
from kpipe.matrix import Combination, Matrix
from kpipe.parameters import Parameters
from kpipe.paths import path_problems, url_problem
from kpipe.references import is_open, references, substitute
from kpipe.signature import REQUIRED, Parameter, Type
from kpipe.sources import Source
from kpipe.spec import StageSpec
from kpipe.tomlfile import shown
from kpipe.urls import is_url, local, parse
from kpipe.values import as_declared, check, fits, path_leaf


@dataclass(frozen=True)
class Resolver:
    """Fills in the parameters of one stage's instances; mistakes are added to `problems`."""

    project: Project
    stage: StageSpec
    known: Mapping[str, Parameter]
    matrix: Matrix
    problems: list[Problem]
    store: Path
    offline: bool = False

    def resolve(self, combination: Combination) -> Parameters:
        """Values of one instance: ${axis} replaced, defaults filled in, types, ranges and paths checked."""
        values = {name: value for name in self.known for value in self._value(name, combination)}
        paths: dict[str, Path] = {}
        sources: dict[str, Source] = {}
        modules: dict[str, str] = {}
        for name, value in list(values.items()):
            type_ = self.known[name].type
            if path_leaf(value, type_):
                self._place(name, value, paths, sources)
                values[name] = sources[name].url.shown if name in sources else value
            modules.update(
                (value, f"{leaf.text}.{value}") for leaf in type_.leaves() if leaf.kind == "module" and fits(value, leaf)
            )
        wanted = [name for name, value in values.items() if is_pretrained(value, self.known[name].type)]
        return Parameters(
            values, paths, sources, modules, {name: published(self.project, modules, values[name]) for name in wanted}
        )

    def _place(self, name: str, value: str, paths: dict[str, Path], sources: dict[str, Source]) -> None:
        """Where a file or folder lies: here, or behind a URL."""
        type_, at = self.known[name].type, self._at(name)
        try:
            path = local(value)
            if path is None and is_url(value):
                kinds = tuple(sorted({leaf.kind for leaf in type_.leaves()} & {"file", "folder"}))
                sources[name] = Source(parse(value), kinds, self.offline)
                return
        except ValueError as e:
            self.problems.append(url_problem(name, value, str(e), at))
            return
        paths[name] = self.project.root / (os.path.expanduser(value) if path is None else path)
        self.problems.extend(path_problems(self.project.root, self.store, paths[name], type_, name, value, at))

    def _at(self, name: str) -> tuple[str | int, ...]:
        return ("stages", self.stage.name, "params", name)

    def _value(self, name: str, combination: Combination) -> Iterator[Any]:
        """The parameter's value; nothing where it has none that is allowed."""
        parameter = self.known[name]
        if name not in self.stage.params:
            if parameter.default is not REQUIRED:
                yield as_declared(parameter.default, parameter.type)
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
            yield as_declared(value, parameter.type)


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
