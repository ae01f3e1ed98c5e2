"""Parameter types of a stage's run(), read from annotations as text, and the check of a value against one."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kpipe.errors import listing, nearest

PLAIN: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}
COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
REQUIRED = object()


@dataclass(frozen=True)
class Mismatch:
    """Why a value does not fit: what would be allowed, and the nearest valid name."""

    allowed: str
    hint: str | None = None


@dataclass(frozen=True)
class Type:
    """One annotation. `kind` is plain, literal, list, file, folder, module, pretrained, none or union."""

    kind: str
    text: str
    choices: tuple[Any, ...] = ()
    parts: tuple[Type, ...] = ()
    range: str | None = None

    def leaves(self) -> Iterator[Type]:
        """The alternatives of a union, or the type itself."""
        if self.kind == "union":
            for part in self.parts:
                yield from part.leaves()
        else:
            yield self


@dataclass(frozen=True)
class Parameter:
    """One keyword argument of run()."""

    name: str
    type: Type
    default: Any = field(default=REQUIRED)


def parse(annotation: str, modules: Callable[[str], list[str]]) -> Type:
    """The Type an annotation's text means; ValueError where it is none the door knows.

    `modules` lists the modules of a package, for Module["package"].
    """
    return _parse(ast.parse(annotation, mode="eval").body, modules)


def _parse(node: ast.expr, modules: Callable[[str], list[str]]) -> Type:
    text = ast.unparse(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return Type("union", text, parts=(_parse(node.left, modules), _parse(node.right, modules)))
    if isinstance(node, ast.Constant) and node.value is None:
        return Type("none", text)
    name = ast.unparse(node.value if isinstance(node, ast.Subscript) else node).rpartition(".")[2]
    if isinstance(node, ast.Subscript):
        inner = node.slice
        if name == "Literal":
            return Type("literal", text, choices=tuple(ast.literal_eval(e) for e in elements(inner)))
        if name == "Module":
            package = ast.literal_eval(inner)
            return Type("module", package, choices=tuple(modules(package)))
        if name == "list":
            part = _parse(inner, modules)
            if any(leaf.kind in ("file", "folder", "module", "pretrained") for leaf in part.leaves()):
                raise ValueError(f"{text}: a list holds plain values; a Folder is one parameter that names many files")
            return Type("list", text, parts=(part,))
        if name == "Annotated":
            base, limits = elements(inner)
            return Type("union", text, parts=(_parse(base, modules),), range=ast.literal_eval(limits))
    elif name in PLAIN:
        return Type("plain", name)
    elif name in ("File", "Folder", "Pretrained"):
        return Type(name.lower(), name)
    raise ValueError(f"annotation {text} is not one that a stage's parameter may have")


def elements(node: ast.expr) -> list[ast.expr]:
    """The parts of a subscript: a, b in X[a, b]."""
    return node.elts if isinstance(node, ast.Tuple) else [node]


def check(value: Any, type_: Type) -> Mismatch | None:
    """None where the value fits the type."""
    if not any(fits(value, leaf) for leaf in type_.leaves()):
        allowed = listing(describe(leaf) for leaf in type_.leaves() if leaf.kind != "none")
        near = nearest(value, (c for leaf in type_.leaves() for c in leaf.choices)) if isinstance(value, str) else None
        return Mismatch(allowed, f'did you mean "{near}"?' if near else None)
    limits = [
        t.range
        for t in ranges(type_)
        if value is not None and not isinstance(value, (str, bool)) and not within(value, t.range or "")
    ]
    return Mismatch(limits[0] or "") if limits else None


def ranges(type_: Type) -> Iterator[Type]:
    """Every Annotated range in a type."""
    if type_.range:
        yield type_
    for part in type_.parts:
        yield from ranges(part)


def fits(value: Any, leaf: Type) -> bool:
    """Whether a value is of one alternative. A bool is no number; an int is a float; a path is a str."""
    match leaf.kind:
        case "plain":
            return isinstance(value, PLAIN[leaf.text]) and (isinstance(value, bool) == (leaf.text == "bool"))
        case "literal" | "module":
            return any(value == choice and type(value) is type(choice) for choice in leaf.choices)
        case "list":
            return isinstance(value, list) and all(check(v, leaf.parts[0]) is None for v in value)
        case "none":
            return value is None
        case "pretrained":
            return bool(value == "imagenet")
        case _:
            return isinstance(value, str)


def describe(leaf: Type) -> str:
    """One alternative in words, as an error message lists it."""
    match leaf.kind:
        case "literal":
            return listing(f'"{c}"' if isinstance(c, str) else c for c in leaf.choices)
        case "module":
            return "one of " + listing(f'"{c}"' for c in leaf.choices)
        case "file" | "folder":
            return f"the path of a {leaf.kind}"
        case "pretrained":
            return '"imagenet"'
        case "list":
            return f"a list of {describe(leaf.parts[0])}"
        case _:
            return {"str": "a string", "int": "a whole number", "float": "a number", "bool": "true or false"}[leaf.text]


def within(value: Any, limits: str) -> bool:
    """Whether a number (or every number of a list) keeps a chained comparison such as "0 <= dropout < 1"."""
    if isinstance(value, list):
        return all(within(v, limits) for v in value)
    node = ast.parse(limits, mode="eval").body
    if not isinstance(node, ast.Compare):
        raise ValueError(f"range {limits!r} is not a comparison")
    terms = [value if isinstance(t, ast.Name) else ast.literal_eval(t) for t in (node.left, *node.comparators)]
    return all(bool(COMPARISONS[type(op)](a, b)) for op, a, b in zip(node.ops, terms[:-1], terms[1:], strict=True))


def path_leaf(value: Any, type_: Type) -> Type | None:
    """The File or Folder alternative that a value takes: only where no other alternative fits it."""
    if not isinstance(value, str):
        return None
    leaves = list(type_.leaves())
    if any(fits(value, leaf) for leaf in leaves if leaf.kind not in ("file", "folder")):
        return None
    return next((leaf for leaf in leaves if leaf.kind in ("file", "folder")), None)
