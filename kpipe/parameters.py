"""A stage's parameters: the file's values held against the signature of run(), without importing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpipe.closure import Project
from kpipe.digest import digest_file
from kpipe.errors import ConfigError, Problem, listing, nearest
from kpipe.folders import digest_path
from kpipe.identity import keras_home
from kpipe.signature import REQUIRED, Annotations, Parameter
from kpipe.sources import Source
from kpipe.spec import StageSpec
from kpipe.statcache import StatCache
from kpipe.values import describe, fits

ANNOTATIONS = (
    'str, int, float, bool, Literal[...], list[...], Annotated[float, "0 <= x < 1"], a TypedDict of this module, '
    "File, Folder, Module[...], unions"
)


@dataclass(frozen=True)
class Parameters:
    """What one stage instance is called with."""

    values: Mapping[str, Any] = field(
        default_factory=dict
    )  # every parameter, as written (URLs without secrets), defaults filled in
    paths: Mapping[str, Path] = field(default_factory=dict)  # those that name a file or folder
    sources: Mapping[str, Source] = field(default_factory=dict)  # those that name one by a URL
    modules: Mapping[str, str] = field(default_factory=dict)  # value of a Module parameter -> dotted name
    pretrained: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # parameter -> {"file", "md5"}

    def digests(self, cache: StatCache) -> dict[str, str]:
        """Content digest of everything outside the project that a parameter names, as it is now."""
        found = {name: digest_path(path, cache) for name, path in self.paths.items()}
        found |= {name: source.identity(cache.path.parent if cache.path else None) for name, source in self.sources.items()}
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
