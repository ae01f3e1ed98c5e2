"""Ranges of numbers: that of an annotation, Annotated[float, "0 <= dropout < 1"], and TOML's whole numbers."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from contextlib import suppress
from typing import Any

COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip

WHOLE = range(-(2**63), 2**63)  # the whole numbers that TOML has
LARGE = "this whole number is too large"
LARGEST = f"from {WHOLE[0]} to {WHOLE[-1]} (64 bits); a larger number is written as 1e20"


def literal(node: ast.expr, *kinds: type) -> Any:
    """A literal in an annotation; ValueError where it is none of these types."""
    with suppress(ValueError, TypeError):
        value = ast.literal_eval(node)
        if isinstance(value, kinds):
            return value
    raise ValueError(f"{ast.unparse(node)} in its annotation must be a literal ({', '.join(k.__name__ for k in kinds)})")


def comparison(node: ast.expr) -> str:
    """The text of a range; ValueError where it does not compare one name with numbers."""
    text = str(literal(node, str))
    try:
        found = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        found = None
    if isinstance(found, ast.Compare) and all(type(op) in COMPARISONS for op in found.ops):
        terms = [term for term in (found.left, *found.comparators) if not isinstance(term, ast.Name)]
        if len(terms) == len(found.ops):
            for term in terms:
                literal(term, int, float)
            return text
    raise ValueError(f'range "{text}" is not a comparison such as "0 <= x < 1"')


def within(value: Any, limits: str) -> bool:
    """Whether a number (or every number of a list) keeps a chained comparison such as "0 <= dropout < 1"."""
    if isinstance(value, list):
        return all(within(v, limits) for v in value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return True  # a range is about numbers
    node = ast.parse(limits, mode="eval").body
    assert isinstance(node, ast.Compare)  # comparison() saw to it
    terms = [value if isinstance(t, ast.Name) else ast.literal_eval(t) for t in (node.left, *node.comparators)]
    return all(bool(COMPARISONS[type(op)](a, b)) for op, a, b in zip(node.ops, terms[:-1], terms[1:], strict=True))


def too_large(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where in a value whole numbers stand that TOML does not have."""
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [place for key, item in items for place in too_large(item, (*at, key))]
    return [at] if isinstance(value, int) and value not in WHOLE else []
