"""What a stage's function run() and the tables in its parameters must look like, and the places of things in a source."""

from __future__ import annotations

import ast
import json
from typing import Any

from kpipe.ranges import LARGEST, too_large

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
DEEP = "its annotation is nested too deep"


def run_signature(tree: ast.Module) -> tuple[list[dict[str, Any]] | None, list[Any] | None]:
    """Parameters of run(stage, *, name: annotation = literal, ...), or where and what is wrong with it."""
    named = [node for node in tree.body if isinstance(node, DEFINITIONS) and node.name == "run"]
    run = named[-1] if named else None  # as Python, which calls the last
    if not isinstance(run, ast.FunctionDef):
        return None, [1, 1, 1, "it has no function run(stage, *, ...)"]
    args = run.args
    if len(args.posonlyargs + args.args) != 1 or args.vararg or args.kwarg:
        message = "run must take `stage` and then only keyword arguments: run(stage, *, epochs: int = 10)"
        return None, [run.lineno, run.col_offset + 1, len("def run"), message]
    found: list[dict[str, Any]] = []
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        if arg.annotation is None:
            return None, [*span(arg), f"parameter {arg.arg} of run has no annotation"]
        parameter: dict[str, Any] = {"name": arg.arg, "annotation": text(arg.annotation), "at": span(arg)}
        if default is not None:
            parameter["default"], wrong = literal(default)
            if wrong:
                return None, [*span(default), f"the default of run's parameter {arg.arg} {wrong}"]
        found.append(parameter)
    return found, None


def literal(default: ast.expr) -> tuple[Any, str]:
    """The value of a parameter's default, and what is wrong with it."""
    try:
        value = ast.literal_eval(default)
    except (ValueError, TypeError):
        value = ...
    if too_large(value):
        return value, f"is a whole number that is too large: {LARGEST}"
    return value, "" if is_json(value) else "must be a literal: a string, a number, True, False, None or a list"


def tables(tree: ast.Module) -> dict[str, list[dict[str, Any]]]:
    """The module's TypedDict classes, each as its fields: name, annotation, whether it is required, place."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and [last_name(base) for base in node.bases] == ["TypedDict"]:
            total = all(getattr(keyword.value, "value", True) for keyword in node.keywords if keyword.arg == "total")
            fields = [field for field in node.body if isinstance(field, ast.AnnAssign)]
            found[node.name] = list({row["name"]: row for row in (table_field(field, total) for field in fields)}.values())
    return found


def table_field(node: ast.AnnAssign, total: bool) -> dict[str, Any]:
    """One field of a TypedDict; Required[...] and NotRequired[...] around its annotation are taken off."""
    annotation, required = node.annotation, total
    if isinstance(annotation, ast.Subscript) and last_name(annotation.value) in ("Required", "NotRequired"):
        required = last_name(annotation.value) == "Required"
        annotation = annotation.slice
    return {"name": ast.unparse(node.target), "annotation": text(annotation), "required": required, "at": span(node)}


def text(annotation: ast.expr) -> str:
    """An annotation as Python writes it; SyntaxError with its place where Python cannot."""
    try:
        return ast.unparse(annotation)
    except RecursionError:
        line, column, _length = span(annotation)
        raise SyntaxError(DEEP, (None, line, column, None)) from None


def last_name(node: ast.expr) -> str:
    """typing.TypedDict -> TypedDict."""
    return ast.unparse(node).rpartition(".")[2]


def is_json(value: Any) -> bool:
    """Whether JSON gives back the same value: no set, no tuple, no number as a key."""
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def span(node: ast.stmt | ast.expr | ast.arg) -> tuple[int, int, int]:
    """Line and column (1-based) of a node, and the length of its first line."""
    length = (node.end_col_offset or 0) - node.col_offset if node.end_lineno == node.lineno else 1
    return node.lineno, node.col_offset + 1, length
