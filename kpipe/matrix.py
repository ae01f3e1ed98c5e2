"""The matrix: axes, include and exclude as in GitHub Actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from kpipe.axes import AXIS, AxisValue, bad_name, read_axis
from kpipe.errors import Problem, listing, nearest
from kpipe.tomlfile import shown

TABLES = {"include": '[{ model = "a", seed = 1 }]', "exclude": '[{ model = "a" }]'}


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
    axes = {axis: read_axis(axis, values, problems) for axis, values in table.items() if axis not in TABLES}
    sound = {axis: values for axis, values in axes.items() if values}  # an axis without values is reported
    combinations: list[dict[str, AxisValue]] = [dict(zip(sound, c, strict=True)) for c in product(*sound.values())]
    for i, entry in enumerate(entries(table, "exclude", problems)):
        unknown = [unknown_axis(key, axes, ("matrix", "exclude", i, key)) for key in entry if key not in axes]
        problems += unknown
        named = axis_values(entry, axes, ("matrix", "exclude", i), problems)
        if named and not unknown:
            combinations = [c for c in combinations if not matches(c, named)]
    extras: dict[str, frozenset[str]] = {}
    for i, entry in enumerate(entries(table, "include", problems)):
        added = {k: AxisValue(v) for k, v in entry.items() if k not in axes}
        problems += [bad_name(key, ("matrix", "include", i, key)) for key in added if not AXIS.fullmatch(key)]
        named = axis_values(entry, axes, ("matrix", "include", i), problems)
        if named is not None:
            include(combinations, axes, named, added, ("matrix", "include", i), problems)
        for key in added:
            extras[key] = extras.get(key, frozenset()) | frozenset(named or ())
    if not combinations:
        problems.append(Problem("exclude leaves no combination of the matrix", ("matrix", "exclude"), on="key"))
    return Matrix(axes, tuple(combinations) or ({},), extras)


def entries(table: Mapping[str, Any], key: str, problems: list[Problem]) -> list[Mapping[str, Any]]:
    """The tables of include or exclude."""
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(e, dict) for e in found):
        hint = f"{key} = {shown([found]) if isinstance(found, dict) else TABLES[key]}"
        problems.append(Problem(f"{key} must be a list of tables, not {shown(found)}", ("matrix", key), hint=hint))
        return []
    return found


def axis_values(
    entry: Mapping[str, Any], axes: Mapping[str, tuple[AxisValue, ...]], at: tuple[str | int, ...], problems: list[Problem]
) -> dict[str, AxisValue] | None:
    """The axis values that an include or exclude entry names; None where one of them does not exist."""
    found: dict[str, AxisValue] = {}
    wrong = False
    for axis, name in entry.items():
        value = next((v for v in axes.get(axis, ()) if v.name == name), None)
        if value is not None:
            found[axis] = value
        elif axis in axes:
            wrong = True
            if axes[axis]:  # an axis without values is reported
                names = [v.name for v in axes[axis]]
                near = nearest(name, (n for n in names if isinstance(n, str)))
                hint = f'did you mean "{near}"?' if near else f"values: {listing(map(shown, names))}"
                problems.append(Problem(f"axis {axis} has no value {shown(name)}", (*at, axis), hint=hint))
    return None if wrong else found


def unknown_axis(name: str, axes: Mapping[str, Any], at: tuple[str | int, ...]) -> Problem:
    """The problem of a name that is no axis."""
    near = nearest(name, axes)
    hint = f"did you mean {near}?" if near else f"axes: {listing(axes)}"
    return Problem(f"{name or shown(name)} is no axis of the matrix", at, on="key", hint=hint)


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
