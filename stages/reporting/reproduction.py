"""The pipeline file that makes a report's branches again: every parameter as it was resolved, a branch a value of one axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stages.reporting.provenance import UNSET, as_toml
from stages.reporting.results import NEEDS, Result

Branches = dict[str, Result]  # name of a branch -> one of the results that differ in nothing but the backend


def pipeline_file(results: list[Result]) -> str:
    """A whole pipeline.toml; a parameter that is set in some branches only is told in a comment."""
    branches: Branches = {}
    for result in results:
        branches.setdefault(name_of(result), result)
    return "\n".join([*head(results), *axes(results, branches), *stages(results[0], branches), *report()]) + "\n"


def name_of(result: Result) -> str:
    """A branch's name on the axis: its axes but for the backend."""
    return " ".join(str(value) for axis, value in result.axes.items() if axis != "backend") or result.label


def head(results: list[Result]) -> Iterator[str]:
    """The pipeline's own table."""
    yield "[pipeline]"
    yield 'name = "again"'
    backend = (results[0].key("train").get("keras") or {}).get("backend")
    if backend and "backend" not in results[0].axes:
        yield f"backend = {as_toml(backend)}"


def axes(results: list[Result], branches: Branches) -> Iterator[str]:
    """One axis for the branches, with what differs between them, and the backend's where there is one."""
    differing = [(stage, name) for stage in NEEDS for name in parameters(stage, branches) if differs(stage, name, branches)]
    backends = list(dict.fromkeys(result.axes["backend"] for result in results if "backend" in result.axes))
    if len(branches) > 1 or backends:
        yield from ("", "[matrix]")
    if len(branches) > 1:
        yield "branch = ["
        for name, result in branches.items():
            own = {"name": name} | {field(*which): result.parameter(*which) for which in differing}
            yield f"  {as_toml(own)},"
        yield "]"
    if backends:
        yield f"backend = {as_toml(backends)}"


def stages(first: Result, branches: Branches) -> Iterator[str]:
    """A table for every stage, and one for its parameters."""
    for stage in NEEDS:
        yield from ("", f"[stages.{stage}]", f"run = {as_toml(first.record(stage).get('stage', f'stages.{stage}'))}")
        if needs := [need for need in first.key(stage).get("inputs") or {} if need in NEEDS]:
            yield f"needs = {as_toml(needs)}"
        lines = [line for name in parameters(stage, branches) for line in parameter(stage, name, branches)]
        yield from [f"[stages.{stage}.params]", *lines] if lines else []


def parameter(stage: str, name: str, branches: Branches) -> Iterator[str]:
    """The line of one parameter."""
    values = {branch: result.parameter(stage, name) for branch, result in branches.items()}
    if differs(stage, name, branches):
        yield f'{name} = "${{branch.{field(stage, name)}}}"'
    elif all(value is not None for value in values.values()):
        yield f"{name} = {as_toml(next(iter(values.values())))}"
    else:
        yield from (f"# {name} = {as_toml(value)}  ({branch})" for branch, value in values.items() if value is not None)


def report() -> list[str]:
    """The report's own stage."""
    return ["", "[stages.report]", 'run = "stages.report"', f"needs = {as_toml(list(NEEDS))}", "gather = true"]


def parameters(stage: str, branches: Branches) -> list[str]:
    """The names of a stage's parameters."""
    return list(dict.fromkeys(name for result in branches.values() for name in result.key(stage).get("params") or {}))


def differs(stage: str, name: str, branches: Branches) -> bool:
    """Whether branches have set a parameter to different values, each of them to one."""
    texts = {as_toml(result.parameter(stage, name)) for result in branches.values()}
    return len(texts) > 1 and UNSET not in texts


def field(stage: str, name: str) -> str:
    """How the axis calls a parameter: stages may have parameters of the same name."""
    return f"{stage}_{name}"


def determinism(results: list[Result]) -> str:
    """What the same seeds give when it is run again."""
    seeds = [f"{stage} {value}" for stage in NEEDS for value in seeds_of(stage, results)]
    told = f"Seeds: {', '.join(seeds)}. " if seeds else ""
    if any(result.key("train").get("keras", {}).get("device") not in (None, "cpu") for result in results):
        return (
            f"{told}Determinism: seeded. A GPU adds in an order that may differ from run to run, so results agree up to rounding."
        )
    return f"{told}Determinism: to the bit, with the same versions on the same kind of processor and the same number of devices."


def seeds_of(stage: str, results: list[Result]) -> list[Any]:
    """The different seeds of a stage, where it has one."""
    return list(dict.fromkeys(seed for result in results if (seed := result.parameter(stage, "seed")) is not None))
