"""What the engine knows of a Python file without importing it: meaning, imports, resources, and the signature of run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

from kpipe.contract import is_json, run_signature, span, tables
from kpipe.digest import digest_value
from kpipe.parsed import dump, parse
from kpipe.statcache import StatCache, stamp

FACTS = 6  # raised when Facts or the way of digesting a definition changes
IMPORTS, ORDER, REST = "imports", "order of definitions", "module-level code"  # with the names, all that a module is
COMPUTED = {  # whatever name it was imported under
    *("importlib.import_module", "importlib.__import__", "importlib.util.spec_from_file_location", "pkgutil.resolve_name"),
    *("runpy.run_module", "runpy.run_path", "__import__", "exec", "eval"),
}


class Facts(TypedDict):
    """One Python file, as the key and the checks see it (JSON, so that it can be remembered by the file's stamp)."""

    definitions: dict[str, str]  # top-level name, or IMPORTS, ORDER or REST -> digest of its meaning
    imports: list[list[Any]]  # [dotted name, [names after "import"], line]
    resources: list[list[Any]]  # [name, line, column, length]
    refused: list[list[Any]]  # [line, column, length, message, hint]
    run: list[dict[str, Any]] | None  # parameters of run(stage, *, ...); None where there is no run
    run_error: list[Any] | None  # [line, column, length, message]
    tables: dict[str, list[dict[str, Any]]]  # TypedDict class -> its fields
    constants: dict[str, Any]  # module-level NAME = literal


def facts(path: Path, cache: StatCache) -> Facts:
    """Facts of one file; SyntaxError, with its place, where Python could not import it."""
    state = stamp(path.stat())
    known: Facts | None = cache.get(str(path), state)
    if known is None:
        text = path.read_bytes()
        tree = parse(text, str(path))
        if not text.isascii():
            count_characters(tree, re.split("\r\n|\r|\n", text.decode(errors="replace")))
        known = read_tree(tree)
        cache.put(str(path), state, known)
    return known


def count_characters(tree: ast.Module, lines: list[str]) -> None:
    """Make the columns of a tree, which Python counts in bytes, those that a person counts."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.expr, ast.stmt, ast.arg)) and (node.end_lineno or 0) <= len(lines):
            node.col_offset = len(lines[node.lineno - 1].encode()[: node.col_offset].decode(errors="replace"))
            if node.end_lineno and node.end_col_offset is not None:
                line = lines[node.end_lineno - 1]
                node.end_col_offset = len(line.encode()[: node.end_col_offset].decode(errors="replace"))


def read_tree(tree: ast.Module) -> Facts:
    """Facts of a parsed module, which is normalised on the way."""
    parameters, error = run_signature(tree)
    return Facts(
        imports=[list(row) for row in imports(tree)],
        resources=[[call.args[0].value, *span(call)] for call in resource_calls(tree) if is_text(call)],  # type: ignore[attr-defined]
        refused=list(refused(tree)),
        run=parameters,
        run_error=error,
        tables=tables(tree),
        constants=constants(tree),
        definitions=definitions(tree),
    )


def definitions(tree: ast.Module) -> dict[str, str]:
    """Digest of every top-level definition's meaning: comments, layout and docstrings do not count. The tree is normalised."""
    found: dict[str, list[str]] = {ORDER: []}
    normalise(tree)
    for node in tree.body:
        name = defined(node)
        found.setdefault(name, []).append(dump(node))
        found[ORDER].append(name)
    return {name: digest_value(texts)[:32] for name, texts in found.items()}


def defined(node: ast.stmt) -> str:
    """The name that a top-level statement defines, or what sort of statement it is."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return IMPORTS
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else REST


def normalise(tree: ast.Module) -> None:
    """Take docstrings and ways of writing out of the tree."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = node.body[1:]
        elif isinstance(node, ast.Constant):
            node.kind = None  # u"text" is "text"


def imports(tree: ast.Module) -> Iterator[tuple[str, list[str], int]]:
    """Every absolute import, also one inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, [], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module, [alias.name for alias in node.names], node.lineno


def resource_calls(tree: ast.Module) -> Iterator[ast.Call]:
    """Calls of <something>.resource(...)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "resource":
            yield node


def is_text(call: ast.Call) -> bool:
    """Whether a call has one literal string as its argument."""
    return len(call.args) == 1 and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)


def refused(tree: ast.Module) -> Iterator[list[Any]]:
    """What a stage's code may not do, because its closure could not be known: [line, column, length, message, hint]."""
    names = full_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            dots = "." * node.level + (node.module or "")
            yield [
                *span(node),
                f"relative import `from {dots} import ...`",
                "write the module's full name: from stages import ...",
            ]
        elif isinstance(node, ast.Call) and called(node, names) in COMPUTED:
            yield [
                *span(node),
                f"computed import or code: {ast.unparse(node.func)}(...)",
                'a parameter annotated Module["package"] and stage.module(name)',
            ]
    for call in resource_calls(tree):
        if not is_text(call):
            yield [*span(call), "the name of a resource must be a literal string", 'stage.resource("report.html")']


def full_names(tree: ast.Module) -> dict[str, str]:
    """What the names that import statements give stand for: il -> importlib, load -> importlib.import_module."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def called(call: ast.Call, names: dict[str, str]) -> str:
    """The full name of what is called; empty where that is no name."""
    parts: list[str] = []
    function = call.func
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    if not isinstance(function, ast.Name):
        return ""
    return ".".join([names.get(function.id, function.id), *reversed(parts)]).removeprefix("builtins.")


def constants(tree: ast.Module) -> dict[str, Any]:
    """Module-level literals in capitals that JSON can hold."""
    found: dict[str, Any] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id.isupper() and getattr(node, "value", None) is not None:
            try:
                value = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except (ValueError, TypeError):
                continue
            if value is not None and is_json(value):
                found[target.id] = value
    return found
