"""Values held against the types of parameters, and what is said of one that does not fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kpipe.errors import listing, nearest
from kpipe.ranges import within
from kpipe.signature import Type
from kpipe.tomlfile import shown

PLAIN: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}
WORDS = {"str": "a string", "int": "a whole number", "float": "a number", "bool": "true or false"}
MANY = {"str": "strings", "int": "whole numbers", "float": "numbers", "bool": "true or false"}


@dataclass(frozen=True)
class Mismatch:
    """One mistake in a value: where, what is wrong, what would be allowed."""

    at: tuple[str | int, ...]  # keys and indexes from the parameter's value down to the mistake
    allowed: str
    near: str | None = None  # the nearest valid name
    unknown: str | None = None  # the key that a table does not have
    missing: str | None = None  # the key that a table needs

    @property
    def hint(self) -> str:
        """What a person may write."""
        return f"did you mean {self.near}?" if self.near else self.allowed

    def says(self, name: str, raw: Any, value: Any) -> str:
        """The mistake in a sentence; `raw` is the parameter's value as the file has it, ${...} and all."""
        if self.unknown or self.missing:
            above = self.at[:-1] if self.unknown else self.at
            table = ".".join([name, *(key for key in above if isinstance(key, str))])
            table = f"a table of {table}" if above and isinstance(above[-1], int) else table
            return f"{table} {'has no' if self.unknown else 'needs the'} key {self.unknown or self.missing}"
        for key in self.at:
            value, raw = value[key], raw if isinstance(raw, str) else raw[key]
        key = self.at[-1] if self.at else name
        via = f" (from {raw})" if isinstance(raw, str) and value != raw else ""
        inside = f" in {name}" if self.at else ""
        return f"{f'{key} = ' if isinstance(key, str) else ''}{shown(value)}{via}{inside} is not allowed"


def check(value: Any, type_: Type) -> list[Mismatch]:
    """Everything in a value that its type does not allow; mistakes inside tables one by one."""
    return list(mismatches(value, type_, ()))


def mismatches(value: Any, type_: Type, at: tuple[str | int, ...]) -> Iterator[Mismatch]:
    """The mistakes of a value that stands at a place inside the parameter's."""
    if fits(value, type_):
        return
    for leaf in type_.leaves():
        if leaf.kind == "table" and isinstance(value, dict):
            yield from table_mismatches(value, leaf, at)
            return
        if leaf.kind == "list" and isinstance(value, list) and any(item.kind == "table" for item in leaf.parts[0].leaves()):
            for i, item in enumerate(value):
                yield from mismatches(item, leaf.parts[0], (*at, i))
            return
    near = nearest(value, (c for leaf in type_.leaves() for c in leaf.choices)) if isinstance(value, str) else None
    yield Mismatch(at, f"allowed: {describe(type_)}", near and f'"{near}"')


def table_mismatches(table: dict[str, Any], type_: Type, at: tuple[str | int, ...]) -> Iterator[Mismatch]:
    """Keys that a table does not have, those that it needs and did not get, and values that do not fit."""
    known = {field.name: field for field in type_.fields}
    meant = set()
    for key, value in table.items():
        if key in known:
            yield from mismatches(value, known[key].type, (*at, key))
        else:
            near = nearest(key, known)
            meant.add(near)
            yield Mismatch((*at, key), f"keys: {listing(known)}", near, unknown=key)
    for field in type_.fields:
        if field.required and field.name not in {*table, *meant}:
            yield Mismatch(at, f"{field.name} = ...", missing=field.name)


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
        case "table":
            known = {field.name: field for field in type_.fields}
            whole = isinstance(value, dict) and all(f.name in value for f in type_.fields if f.required)
            return whole and all(key in known and fits(v, known[key].type) for key, v in value.items())
        case "none":
            return value is None
        case "pretrained":
            return bool(value == "imagenet")
        case _:
            return isinstance(value, str)


def as_declared(value: Any, type_: Type) -> Any:
    """A value that fits, as run() gets it: a whole number is a float where the type knows none, a table in its type's order."""
    leaf = next((leaf for leaf in type_.leaves() if fits(value, leaf) and leaf.text != "float"), None)
    if leaf is None:
        return float(value) if isinstance(value, int) else value
    if leaf.kind == "list":
        return [as_declared(item, leaf.parts[0]) for item in value]
    if leaf.kind == "table":
        return {field.name: as_declared(value[field.name], field.type) for field in leaf.fields if field.name in value}
    return value


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
        case "table":
            return f"{'tables' if many else 'a table'} with {listing(field.name for field in type_.fields)}"
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
