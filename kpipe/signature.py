"""Parameter types of a stage's run(), read from annotations as text."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kpipe.ranges import comparison, literal

CONTENT = ("File", "Folder", "Module", "Pretrained")  # name what is outside the parameter: its content enters the key
REQUIRED = object()


@dataclass(frozen=True)
class Type:
    """One annotation. `kind` is plain, literal, list, table, file, folder, module, pretrained, none or union."""

    kind: str
    text: str
    choices: tuple[Any, ...] = ()
    parts: tuple[Type, ...] = ()
    range: str | None = None
    fields: tuple[Field, ...] = ()  # of a table

    def leaves(self) -> Iterator[Type]:
        """The alternatives of a union, or the type itself."""
        if self.kind == "union":
            for part in self.parts:
                yield from part.leaves()
        else:
            yield self


@dataclass(frozen=True)
class Field:
    """One key of a table."""

    name: str
    type: Type
    required: bool


@dataclass(frozen=True)
class Parameter:
    """One keyword argument of run()."""

    name: str
    type: Type
    default: Any = field(default=REQUIRED)


class FieldError(ValueError):
    """A table's field has an annotation that the door does not know; `at` is its place, as contract.span gives it."""

    def __init__(self, message: str, at: Sequence[int]) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True)
class Annotations:
    """Reads the annotations of one module."""

    modules: Callable[[str], list[str]]  # lists the modules of a package, for Module["package"]
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)  # TypedDict class -> fields, as contract.tables
    inside: tuple[str, ...] = ()  # tables that are being read

    def parse(self, annotation: str) -> Type:
        """The Type an annotation's text means; ValueError where it is none the door knows."""
        return self._type(ast.parse(annotation, mode="eval").body)

    def _type(self, node: ast.expr) -> Type:
        text = ast.unparse(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return Type("union", text, parts=(self._type(node.left), self._type(node.right)))
        if isinstance(node, ast.Constant) and node.value is None:
            return Type("none", text)
        if isinstance(node, ast.Name) and node.id in self.tables:
            return self._table(node.id)
        name = ast.unparse(node.value if isinstance(node, ast.Subscript) else node).rpartition(".")[2]
        inner = elements(node.slice) if isinstance(node, ast.Subscript) else []
        match name, inner:
            case "Literal", [_, *_]:
                return Type("literal", text, choices=tuple(literal(e, str, int, float) for e in inner))
            case "Module", [module]:
                return self._module(text, literal(module, str))
            case "list", [item]:
                refuse_content(item, "list")
                return Type("list", text, parts=(self._type(item),))
            case "Annotated", [base, limits]:
                inside = self._type(base)
                if not any(leaf.kind == "list" or leaf.text in ("int", "float") for leaf in inside.leaves()):
                    raise ValueError(f"annotation {text}: only a number has a range")
                return Type("union", text, parts=(inside,), range=comparison(limits))
            case (("str" | "int" | "float" | "bool"), []):
                return Type("plain", name)
            case (("File" | "Folder" | "Pretrained"), []):
                return Type(name.lower(), name)
            case _:
                raise ValueError(f"annotation {text} is not one that a stage's parameter may have")

    def _module(self, text: str, package: str) -> Type:
        choices = tuple(self.modules(package))
        if not choices:
            raise ValueError(f"annotation {text}: there is no module in {package}")
        return Type("module", package, choices=choices)

    def _table(self, name: str) -> Type:
        if name in self.inside:
            raise ValueError(f"annotation {name}: a table cannot contain itself")
        reader, fields = replace(self, inside=(*self.inside, name)), []
        for row in self.tables[name]:
            where = f"field {row['name']} of {name}"
            try:
                refuse_content(ast.parse(row["annotation"], mode="eval"), "table")
                fields.append(Field(row["name"], reader.parse(row["annotation"]), row["required"]))
            except FieldError:
                raise
            except ValueError as e:
                raise FieldError(f"{where}: {e}", row["at"]) from None
        return Type("table", name, fields=tuple(fields))


def refuse_content(node: ast.AST, inside: str) -> None:
    """ValueError where an annotation inside a list or a table names what is outside the parameter."""
    if any(isinstance(n, ast.Name) and n.id in CONTENT for n in ast.walk(node)):
        raise ValueError(f"annotation {ast.unparse(node)}: {', '.join(CONTENT)} cannot stand in a {inside}")


def elements(node: ast.expr) -> list[ast.expr]:
    """The parts of a subscript: a, b in X[a, b]."""
    return node.elts if isinstance(node, ast.Tuple) else [node]
