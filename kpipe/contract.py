"""What a stage's function run() must look like, and the places of things in a source."""

from __future__ import annotations

import ast
import json
from typing import Any


def run_signature(tree: ast.Module) -> tuple[list[dict[str, Any]] | None, list[Any] | None]:
    """Parameters of run(stage, *, name: annotation = literal, ...), or where and what is wrong with it."""
    run = next((n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "run"), None)
    if run is None:
        return None, [1, 1, 1, "it has no function run(stage, *, ...)"]
    args = run.args
    if len(args.posonlyargs + args.args) != 1 or args.vararg or args.kwarg:
        message = "run must take `stage` and then only keyword arguments: run(stage, *, epochs: int = 10)"
        return None, [run.lineno, run.col_offset + 1, len("def run"), message]
    found: list[dict[str, Any]] = []
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        if arg.annotation is None:
            return None, [*span(arg), f"parameter {arg.arg} of run has no annotation"]
        parameter: dict[str, Any] = {"name": arg.arg, "annotation": ast.unparse(arg.annotation), "at": span(arg)}
        if default is not None:
            try:
                parameter["default"] = ast.literal_eval(default)
            except (ValueError, TypeError):
                parameter["default"] = ...
            if not is_json(parameter["default"]):
                says = (
                    f"the default of run's parameter {arg.arg} must be a literal: a string, a number, True, False, None or a list"
                )
                return None, [*span(default), says]
        found.append(parameter)
    return found, None


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
