"""The matrix: axes, include and exclude as in GitHub Actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from kpipe.errors import Problem, listing, nearest

SCALARS = (str, int, float)


@dataclass(frozen=True)
class AxisValue:
    """One value of an axis: a scalar, or a table with a name and further fields."""

    name: Any
    fields: tuple[tuple[str, Any], ...] = ()

    def field(self, key: str) -> Any:
        """A field of a table-valued axis; KeyError where it has none of that name."""
        return dict(self.fields)[key]


Combination = Mapping[str, AxisValue]  # axis (or a variable that include adds) -> value


@dataclass(frozen=True)
class Matrix:
    """Axes in the file's order and the combinations that exist."""

    axes: Mapping[str, tuple[AxisValue, ...]] = field(default_factory=dict)
    combinations: tuple[Combination, ...] = ({},)
    extras: Mapping[str, frozenset[str]] = field(default_factory=dict)  # variable added by include -> axes that decide it

    def only(self, axis: str, name: str) -> Matrix:
        """The matrix narrowed to one value of an axis, which then is still an axis."""
        axes = {**self.axes, axis: tuple(v for v in self.axes[axis] if v.name == name)}
        return replace(self, axes=axes, combinations=tuple(c for c in self.combinations if c[axis].name == name))

    def axes_of(self, variable: str) -> frozenset[str]:
        """The axes that a ${variable} makes a stage depend on."""
        return frozenset({variable}) if variable in self.axes else self.extras[variable]


def read_matrix(table: Mapping[str, Any], problems: list[Problem]) -> Matrix:
    """Axes and combinations of a [matrix] table; mistakes are added to `problems`."""
    axes: dict[str, tuple[AxisValue, ...]] = {}
    for axis, values in table.items():
        if axis not in ("include", "exclude"):
            axes[axis] = read_axis(axis, values, problems)
    sound = {axis: values for axis, values in axes.items() if values}  # an axis without values is reported
    combinations: list[dict[str, AxisValue]] = [dict(zip(sound, c, strict=True)) for c in product(*sound.values())]
    for i, entry in enumerate(entries(table, "exclude", problems)):
        named = checked(entry, axes, ("matrix", "exclude", i), problems)
        unknown = [key for key in entry if key not in axes]
        problems += [unknown_axis(key, axes, ("matrix", "exclude", i, key)) for key in unknown]
        combinations = [c for c in combinations if not (named and matches(c, named))]
    extras: dict[str, frozenset[str]] = {}
    for i, entry in enumerate(entries(table, "include", problems)):
        named = checked(entry, axes, ("matrix", "include", i), problems)
        added = {k: AxisValue(v) for k, v in entry.items() if k not in axes}
        include(combinations, axes, named, added, ("matrix", "include", i), problems)
        for key in added:
            extras[key] = extras.get(key, frozenset()) | frozenset(named)
    if table and not combinations:
        problems.append(Problem("exclude leaves no combination of the matrix", ("matrix",), on="key"))
    return Matrix(axes, tuple(combinations) or ({},), extras)


def read_axis(axis: str, values: Any, problems: list[Problem]) -> tuple[AxisValue, ...]:
    """The values of one axis."""
    if not isinstance(values, list) or not values:
        problems.append(Problem(f"axis {axis} must be a list of values, not {values!r}", ("matrix", axis)))
        return ()
    found: list[AxisValue] = []
    for i, value in enumerate(values):
        name = value.get("name") if isinstance(value, dict) else value
        if not isinstance(name, SCALARS):
            hint = f'{{ name = "..." }} with further fields, or a string, or a number: {axis} = ["a", "b"]'
            problems.append(Problem(f"value {i + 1} of axis {axis} has no name", ("matrix", axis, i), hint=hint))
        elif name in [v.name for v in found]:
            problems.append(Problem(f"axis {axis} has the value {name!r} twice", ("matrix", axis, i)))
        else:
            found.append(AxisValue(name, tuple(value.items()) if isinstance(value, dict) else ()))
    return tuple(found)


def entries(table: Mapping[str, Any], key: str, problems: list[Problem]) -> list[Mapping[str, Any]]:
    """The tables of include or exclude."""
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(e, dict) for e in found):
        problems.append(Problem(f"{key} must be a list of tables", ("matrix", key)))
        return []
    return found


def checked(
    entry: Mapping[str, Any], axes: Mapping[str, tuple[AxisValue, ...]], at: tuple[str | int, ...], problems: list[Problem]
) -> dict[str, AxisValue]:
    """The axis values that an include or exclude entry names."""
    found: dict[str, AxisValue] = {}
    for axis in entry.keys() & axes.keys():
        value = next((v for v in axes[axis] if v.name == entry[axis]), None)
        if value is None:
            names = [v.name for v in axes[axis]]
            near = nearest(entry[axis], names)
            hint = f'did you mean "{near}"?' if near else f"values: {listing(names)}"
            problems.append(Problem(f"axis {axis} has no value {entry[axis]!r}", (*at, axis), hint=hint))
        else:
            found[axis] = value
    return found


def unknown_axis(name: str, axes: Mapping[str, Any], at: tuple[str | int, ...]) -> Problem:
    """The problem of a name that is no axis."""
    near = nearest(name, axes)
    hint = f"did you mean {near}?" if near else f"axes: {listing(axes)}"
    return Problem(f"{name} is no axis of the matrix", at, on="key", hint=hint)


def matches(combination: Combination, named: Mapping[str, AxisValue]) -> bool:
    """Whether a combination has all the named axis values."""
    return all(combination.get(axis) == value for axis, value in named.items())


def include(
    combinations: list[dict[str, AxisValue]],
    axes: Mapping[str, Any],
    named: dict[str, AxisValue],
    added: dict[str, AxisValue],
    at: tuple[str | int, ...],
    problems: list[Problem],
) -> None:
    """Add an include entry's variables to every combination it matches; where it matches none, it is a new one."""
    fitting = [c for c in combinations if matches(c, named)]
    for combination in fitting:
        combination.update(added)
    if not fitting:
        missing = [axis for axis in axes if axis not in named]
        if missing:
            problems.append(Problem(f"include adds a combination without a value for {listing(missing)}", at))
        else:
            combinations.append({**named, **added})
