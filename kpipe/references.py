"""${axis} and ${axis.field} in parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kpipe.matrix import Combination

REFERENCE = re.compile(r"\$\{\s*([^}]*?)\s*\}")
OPEN = re.compile(r"\$\{[^}]*$")


def references(value: Any) -> Iterator[str]:
    """Every name inside ${...} in a parameter's value, at any depth."""
    for text in strings(value):
        yield from REFERENCE.findall(text)


def is_open(value: Any) -> bool:
    """Whether a ${ in a parameter's value lacks its }."""
    return any(OPEN.search(text) for text in strings(value))


def strings(value: Any) -> Iterator[str]:
    """Every string in a value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value if isinstance(value, list) else value.values():
            yield from strings(item)


def substitute(value: Any, combination: Combination) -> Any:
    """The value with every ${...} replaced; a string that is wholly one reference keeps the type. KeyError: unknown name."""
    if isinstance(value, str):
        whole = REFERENCE.fullmatch(value)
        if whole:
            return lookup(whole[1], combination)
        return REFERENCE.sub(lambda m: str(lookup(m[1], combination)), value)
    if isinstance(value, list):
        return [substitute(v, combination) for v in value]
    if isinstance(value, dict):
        return {k: substitute(v, combination) for k, v in value.items()}
    return value


def lookup(reference: str, combination: Combination) -> Any:
    """model -> the axis value's name; model.learning_rate -> a field of it. KeyError where there is none."""
    axis, _, key = reference.partition(".")
    value = combination[axis]
    if not key or (key == "name" and not value.fields):
        return value.name
    return value.field(key)
