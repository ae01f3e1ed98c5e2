"""A stage's parameters: the file's values held against the signature of run(), without importing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpipe.closure import Project
from kpipe.digest import StatCache, digest_file, digest_path
from kpipe.errors import ConfigError, Problem, listing, nearest
from kpipe.identity import keras_home
from kpipe.matrix import Combination, references, substitute
from kpipe.signature import REQUIRED, Parameter, check, parse, path_leaf
from kpipe.spec import StageSpec


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
        raise ConfigError([Problem(f"{module}: {found['run_error']}", file=path, line=1, column=1)])
    parameters = {}
    for row in found["run"] or []:
        try:
            type_ = parse(row["annotation"], project.modules)
        except (ValueError, SyntaxError) as e:
            hint = "str, int, float, bool, Literal[...], list[...], unions, File, Folder, Module[...]"
            raise ConfigError([Problem(f"{module}: parameter {row['name']}: {e}", hint=hint, file=path, line=1, column=1)]) from None
        parameters[row["name"]] = Parameter(row["name"], type_, row.get("default", REQUIRED))
    return parameters


def check_names(stage: StageSpec, known: Mapping[str, Parameter]) -> Iterator[Problem]:
    """Parameters that run() does not have, and those it needs and did not get."""
    at = ("stages", stage.name, "params")
    for name in stage.params:
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near}?" if near else f"parameters of {stage.run}: {listing(known)}"
            yield Problem(f"stage {stage.name} has no parameter {name}", (*at, name), on="key", hint=hint)
    missing = [p.name for p in known.values() if p.default is REQUIRED and p.name not in stage.params]
    if missing:
        where = at if stage.params else at[:2]
        yield Problem(f"stage {stage.name} needs the parameter {listing(missing)}", where, on="key", hint=f"{missing[0]} = ...")


def resolve(
    project: Project, stage: StageSpec, known: Mapping[str, Parameter], combination: Combination, problems: list[Problem]
) -> Parameters:
    """Values of one instance: ${axis} replaced, defaults filled in, types, ranges and paths checked."""
    values: dict[str, Any] = {}
    paths: dict[str, Path] = {}
    modules: dict[str, str] = {}
    pretrained: dict[str, Mapping[str, str]] = {}
    for parameter in known.values():
        at = ("stages", stage.name, "params", parameter.name)
        raw = stage.params.get(parameter.name, parameter.default)
        if raw is REQUIRED:
            continue
        value = substituted(raw, combination, at, problems)
        values[parameter.name] = value
        mismatch = check(value, parameter.type) if parameter.name in stage.params else None
        if mismatch:
            shown = f'"{value}"' if isinstance(value, str) else value
            via = f" (from {raw})" if value != raw else ""
            problems.append(
                Problem(f"{parameter.name} = {shown}{via} is not allowed", at, hint=mismatch.hint or f"allowed: {mismatch.allowed}")
            )
            continue
        leaf = path_leaf(value, parameter.type)
        if leaf:
            paths[parameter.name] = project.root / Path(value).expanduser()
            problems += missing_path(paths[parameter.name], parameter, value, at)
        for leaf in parameter.type.leaves():
            if leaf.kind == "module" and value in leaf.choices:
                modules[value] = f"{leaf.text}.{value}"
            elif leaf.kind == "pretrained" and value == "imagenet":
                pretrained[parameter.name] = {}
    pretrained = {name: published(project, modules, str(values[name])) for name in pretrained}
    return Parameters(values, paths, modules, pretrained)


def substituted(raw: Any, combination: Combination, at: tuple[str | int, ...], problems: list[Problem]) -> Any:
    """The value with ${...} replaced; an unknown name is reported and left."""
    try:
        return substitute(raw, combination)
    except KeyError:
        pass
    for reference in references(raw):
        axis, _, key = reference.partition(".")
        if axis in combination:
            value = combination[axis]
            fields = [name for name, _ in value.fields]
            if key not in fields:
                problems.append(Problem(f"{axis} = {value.name!r} has no field {key}", at, hint=f"its fields: {listing(fields)}"))
        elif not combination:
            problems.append(Problem(f"${{{reference}}}: the pipeline has no axis {axis}", at, hint="declare it under [matrix]"))
        else:
            problems.append(Problem(f"${{{reference}}}: not defined for {listing(v.name for v in combination.values())}", at))
    return raw


def missing_path(path: Path, parameter: Parameter, value: str, at: tuple[str | int, ...]) -> Iterator[Problem]:
    """The problem of a file or folder that is not there, with whatever else would be allowed."""
    kinds = {leaf.kind for leaf in parameter.type.leaves()} & {"file", "folder"}
    if path.is_dir() if kinds == {"folder"} else path.is_file() if kinds == {"file"} else path.exists():
        return
    names = [str(c) for leaf in parameter.type.leaves() for c in leaf.choices]
    names += ["imagenet"] if any(leaf.kind == "pretrained" for leaf in parameter.type.leaves()) else []
    near = nearest(value, names)
    hint = f'did you mean "{near}"?' if near else f"paths are relative to the pipeline file; also allowed: {listing(names)}"
    what = " or ".join(sorted(kinds))
    state = f"is not a {what}" if path.exists() else "does not exist"
    yield Problem(f"{parameter.name} = \"{value}\": {what} {path} {state}", at, hint=hint)


def published(project: Project, modules: Mapping[str, str], name: str) -> Mapping[str, str]:
    """What the chosen backbone's module says of its published weights: NAME = {"file": ..., "md5": ...}."""
    for module in modules.values():
        found = project.facts(module)["constants"].get(name.upper())
        if isinstance(found, dict):
            return found
    raise ConfigError(f"{listing(modules.values())} does not say which file its {name} weights are", hint=f"{name.upper()} = {{...}}")
