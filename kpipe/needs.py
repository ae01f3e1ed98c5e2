"""What needs what: names that exist, no circle, and an order to go through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Protocol, TypeVar

from kpipe.errors import Problem, listing, nearest
from kpipe.tomlfile import shown


class HasNeeds(Protocol):
    """A stage, as far as its place in the DAG is concerned."""

    @property
    def name(self) -> str:
        """The stage's name."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the stages it needs."""


StageType = TypeVar("StageType", bound=HasNeeds)


def read_needs(value: Any, at: tuple[str | int, ...], problems: list[Problem]) -> tuple[str, ...]:
    """The names in a needs = [...] at their places; empty where an item is none, which is reported."""
    items = value if isinstance(value, list) else []
    for i, item in enumerate(items):
        if not isinstance(item, str) or not item:
            problems.append(Problem(f"needs must list names of stages, not {shown(item)}", (*at, i)))
    return tuple(item if isinstance(item, str) else "" for item in items)


def check_needs(stages: Mapping[str, StageType], problems: list[Problem]) -> None:
    """Report needs that do not exist, stand twice or are the stage itself, and cycles as a -> b -> a."""
    for stage in stages.values():
        for i, need in enumerate(stage.needs):
            at = ("stages", stage.name, "needs", i)
            if not need:
                continue  # no name: reported where it was read
            if need == stage.name:
                problems.append(Problem(f"stage {need} needs itself", at))
            elif need not in stages:
                near = nearest(need, stages)
                hint = f'did you mean "{near}"?' if near else f"stages: {listing(stages)}"
                problems.append(Problem(f"stage {stage.name} needs {need}, which is no stage", at, hint=hint))
            elif need in stage.needs[:i]:
                problems.append(Problem(f"stage {stage.name} needs {need} twice", at))
    graph = {s.name: [n for n in s.needs if n != s.name and n in stages] for s in stages.values()}
    while cycle := find_cycle(graph):
        at = ("stages", cycle[0], "needs", stages[cycle[0]].needs.index(cycle[1]))
        problems.append(Problem("stages need each other in a circle: " + " -> ".join(cycle), at))
        graph = {name: [n for n in needs if n not in cycle] for name, needs in graph.items() if name not in cycle}


def find_cycle(needs: Mapping[str, Sequence[str]]) -> list[str] | None:
    """A circle as a, b, a, from its first stage in the file; None where there is none."""
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as e:
        circle = e.args[1][:0:-1]
        first = next(circle.index(name) for name in needs if name in circle)
        return [*circle[first:], *circle[: first + 1]]
    return None


def topological(stages: Mapping[str, StageType]) -> Iterator[StageType]:
    """Stages in an order in which each comes after what it needs (the file's order where it is free)."""
    done: set[str] = set()
    for name in stages:
        path = [name] if name not in done else []
        while path:
            need = next((n for n in stages[path[-1]].needs if n not in done and n not in path), None)
            if need:
                path.append(need)
            else:
                done.add(path[-1])
                yield stages[path.pop()]
