"""What needs what: names that exist, no circle, and an order to go through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from kpipe.errors import Problem, listing, nearest


class HasNeeds(Protocol):
    """A stage, as far as its place in the DAG is concerned."""

    @property
    def name(self) -> str:
        """The stage's name."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the stages it needs."""


StageType = TypeVar("StageType", bound=HasNeeds)


def check_needs(stages: Mapping[str, StageType], problems: list[Problem]) -> None:
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


def topological(stages: Mapping[str, StageType]) -> Iterator[StageType]:
    """Stages in an order in which each comes after what it needs (the file's order where it is free)."""
    done: set[str] = set()

    def visit(name: str) -> Iterator[StageType]:
        if name not in done:
            done.add(name)
            for need in stages[name].needs:
                yield from visit(need)
            yield stages[name]

    for name in stages:
        yield from visit(name)
