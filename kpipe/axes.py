"""One axis of the matrix and its values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from kpipe.errors import Problem
from kpipe.tomlfile import shown
from kpipe.urls import masked

SCALARS = (str, int, float)
AXIS = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
VALUE = re.compile(r"[^,\[\]\x00-\x1f\x7f]+")  # fit[a,b] names one branch


@dataclass(frozen=True)
class AxisValue:
    """One value of an axis: a scalar, or a table with a name and further fields."""

    name: Any
    fields: tuple[tuple[str, Any], ...] = ()
    index: int = field(default=0, compare=False)  # its place in the file's list

    def field(self, key: str) -> Any:
        """A field of a table-valued axis; KeyError where it has none of that name."""
        return dict(self.fields)[key]


def read_axis(axis: str, values: Any, problems: list[Problem]) -> tuple[AxisValue, ...]:
    """The values of one axis."""
    at = ("matrix", axis)
    if not AXIS.fullmatch(axis):
        problems.append(bad_name(axis, at))
    if not isinstance(values, list) or not values:
        hint = None if isinstance(values, list) else f"{axis} = [{shown(values)}]"
        problems.append(Problem(f"axis {axis} must be a list of values, not {shown(values)}", at, hint=hint))
        return ()
    found: list[AxisValue] = []
    for i, value in enumerate(values):
        name = value.get("name") if isinstance(value, dict) else value
        same = next((v.name for v in found if v.name == name or str(v.name) == str(name)), None)
        if not isinstance(name, SCALARS):
            hint = f'a string, a number, or a table with a name: {axis} = ["a", {{ name = "b", rate = 0.1 }}]'
            problems.append(Problem(f"value {i + 1} of axis {axis} has no name", (*at, i), hint=hint))
        elif same is not None:
            hint = None if shown(same) == shown(name) else f"{shown(same)} and {shown(name)} would name the same branch"
            problems.append(Problem(f"axis {axis} has the value {shown(name)} twice", (*at, i), hint=hint))
        elif not VALUE.fullmatch(str(name)) or masked(str(name)) != str(name):  # a name is shown wherever the branch is
            hint = f'{{ name = "short", value = {shown(name)} }}, used as ${{{axis}.value}}'
            problems.append(Problem(f"axis {axis}: {shown(name)} cannot name a branch", (*at, i), hint=hint))
        else:
            found.append(AxisValue(name, tuple(value.items()) if isinstance(value, dict) else (), i))
    return tuple(found)


def bad_name(name: str, at: tuple[str | int, ...]) -> Problem:
    """The problem of a name that no ${...} can hold."""
    return Problem(f"{shown(name)} cannot name an axis", at, on="key", hint="letters, digits, _ and -")
