"""Python text as a tree, and a tree as text: also of code that is nested deeper than Python's own tools recurse."""

from __future__ import annotations

import ast
import warnings
from typing import Any

LONG = 14_000  # bits of a whole number


def parse(text: bytes, path: str) -> ast.Module:
    """The tree of a text that Python can import; SyntaxError, always with a place, where it cannot."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are the importing worker's to say
            tree = ast.parse(text, filename=path)
            compile(text, path, "exec", dont_inherit=True)  # finds what the grammar allows: a parameter twice, a stray return
    except SyntaxError as e:
        raise SyntaxError(e.msg, (path, max(1, e.lineno or 1), max(1, e.offset or 1), e.text)) from None
    except (RecursionError, MemoryError):
        raise SyntaxError("its code is nested too deep for Python", (path, 1, 1, None)) from None
    return tree


def dump(tree: ast.AST) -> str:
    """What ast.dump of Python 3.11 says of a tree, without recursion."""
    said: list[str] = []
    todo: list[Any] = [tree]  # what is still to be written, the first last; text is written as it is
    while todo:
        part = todo.pop()
        if isinstance(part, str):
            said.append(part)
        elif isinstance(part, list):
            todo.append("]")
            for item in reversed(part):
                todo += (item if isinstance(item, ast.AST) else leaf(item), ", ")
            todo[-1] = "["
        else:
            todo.append(")")
            for name, value in reversed(fields(part)):
                nested = value and isinstance(value, (ast.AST, list))
                todo += (value, f", {name}=") if nested else (f", {name}={leaf(value)}",)
            said.append(f"{type(part).__name__}(")
            todo[-1] = todo[-1].removeprefix(", ")
    return "".join(said)


def leaf(value: Any) -> str:
    """A constant as Python writes it; a whole number of more digits than Python writes, in hexadecimal."""
    return hex(value) if isinstance(value, int) and value.bit_length() > LONG else repr(value)


def fields(node: ast.AST) -> list[tuple[str, Any]]:
    """The fields of a node, but for optional ones that it does not have."""
    found = [(name, getattr(node, name, None)) for name in node._fields]
    return [(name, value) for name, value in found if value is not None or getattr(type(node), name, ...) is not None]
