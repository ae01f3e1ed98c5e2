"""Parameter types of a stage's run(), read from annotations as text, and the check of a value against one."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kpipe.errors import listing, nearest
from kpipe.ranges import comparison, literal, within

PLAIN: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}
CONTENT = ("File", "Folder", "Module", "Pretrained")  # name what is outside the parameter: its content enters the key
WORDS = {"str": "a string", "int": "a whole number", "float": "a number", "bool": "true or false"}
MANY = {"str": "strings", "int": "whole numbers", "float": "numbers", "bool": "true or false"}
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
    inner = elements(node.slice) if isinstance(node, ast.Subscript) else []
    match name, inner:
        case "Literal", [_, *_]:
            return Type("literal", text, choices=tuple(literal(e, str, int, float) for e in inner))
        case "Module", [module]:
            package = literal(module, str)
            choices = tuple(modules(package))
            if not choices:
                raise ValueError(f"annotation {text}: there is no module in {package}")
            return Type("module", package, choices=choices)
        case "list", [item]:
            if any(isinstance(n, ast.Name) and n.id in CONTENT for n in ast.walk(item)):
                raise ValueError(f"annotation {text}: {', '.join(CONTENT)} cannot stand in a list")
            return Type("list", text, parts=(_parse(item, modules),))
        case "Annotated", [base, limits]:
            inside = _parse(base, modules)
            if not any(leaf.kind == "list" or leaf.text in ("int", "float") for leaf in inside.leaves()):
                raise ValueError(f"annotation {text}: only a number has a range")
            return Type("union", text, parts=(inside,), range=comparison(limits))
        case (("str" | "int" | "float" | "bool"), []):
            return Type("plain", name)
        case (("File" | "Folder" | "Pretrained"), []):
            return Type(name.lower(), name)
        case _:
            raise ValueError(f"annotation {text} is not one that a stage's parameter may have")


def elements(node: ast.expr) -> list[ast.expr]:
    """The parts of a subscript: a, b in X[a, b]."""
    return node.elts if isinstance(node, ast.Tuple) else [node]


def check(value: Any, type_: Type) -> Mismatch | None:
    """None where the value fits the type."""
    if fits(value, type_):
        return None
    near = nearest(value, (c for leaf in type_.leaves() for c in leaf.choices)) if isinstance(value, str) else None
    return Mismatch(describe(type_), f'did you mean "{near}"?' if near else None)


def fits(value: Any, type_: Type) -> bool:
    """Whether a type allows a value. A bool is no number; an int is a float; a path is a str."""
    match type_.kind:
        case "union":
            return any(fits(value, part) for part in type_.parts) and (type_.range is None or within(value, type_.range))
        case "plain":
            return isinstance(value, PLAIN[type_.text]) and (isinstance(value, bool) == (type_.text == "bool"))
        case "literal" | "module":
            return any(value == choice and type(value) is type(choice) for choice in type_.choices)
        case "list":
            return isinstance(value, list) and all(fits(v, type_.parts[0]) for v in value)
        case "none":
            return value is None
        case "pretrained":
            return bool(value == "imagenet")
        case _:
            return isinstance(value, str)


def describe(type_: Type, many: bool = False) -> str:
    """A type in words, as an error message says what is allowed; `many`: as the items of a list."""
    match type_.kind:
        case "union":
            parts = (describe(part, many) for part in type_.parts if part.kind != "none")
            return " or ".join(parts) + (f" with {type_.range}" if type_.range else "")
        case "literal":
            return (" or " if many else ", ").join(json.dumps(c, ensure_ascii=False) for c in type_.choices)
        case "module":
            return "one of " + listing(f'"{c}"' for c in type_.choices)
        case "file" | "folder":
            return f"the path of a {type_.kind}"
        case "pretrained":
            return '"imagenet"'
        case "list":
            return f"{'lists' if many else 'a list'} of {describe(type_.parts[0], many=True)}"
        case "none":
            return "nothing"
        case _:
            return (MANY if many else WORDS)[type_.text]


def path_leaf(value: Any, type_: Type) -> Type | None:
    """The File or Folder alternative that a value takes: only where no other alternative fits it."""
    if not isinstance(value, str):
        return None
    leaves = list(type_.leaves())
    if any(fits(value, leaf) for leaf in leaves if leaf.kind not in ("file", "folder")):
        return None
    return next((leaf for leaf in leaves if leaf.kind in ("file", "folder")), None)
