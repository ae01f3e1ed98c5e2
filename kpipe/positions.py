"""Where a key or a value stands in a TOML text. Imported only when there is an error to show."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter_toml
from tree_sitter import Language, Node, Parser

TomlPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Position:
    """1-based line and column, and how many characters to mark."""

    line: int
    column: int
    length: int


@dataclass(frozen=True)
class Span:
    """A key, or an item of an array, with its value."""

    path: TomlPath
    key: Node
    value: Node | None = None
    inline: bool = False  # inside a value
    implied: bool = False  # a table that only the name of a deeper one mentions: a and a.b in [a.b.c]


def find(text: str, path: TomlPath, on: str) -> Position | None:
    """Position of the key ("key") or the value ("value") at a path, or of the nearest table above it that is there."""
    found: dict[TomlPath, Span] = {}
    for span in sorted(spans(text), key=lambda span: span.implied):
        found.setdefault(span.path, span)
    for end in range(len(path), 0, -1):
        if path[:end] in found:
            span = found[path[:end]]
            return position(text, span.value if on == "value" and end == len(path) and span.value else span.key)
    return None


def redefinition(text: str, line: int, column: int, inline: bool) -> tuple[str, Position, int] | None:
    """What the last key up to a place defines anew: its dotted name, where, and the line that defined it first."""
    known = [span for span in spans(text) if span.key.start_point < (line - 1, column - 1)]
    keys = [span for span in known if span.inline == inline and not span.implied]
    if not keys:
        return None
    last = max(keys, key=lambda span: (span.key.start_byte, -len(span.path)))
    before = [span for span in known if span.key.start_byte < last.key.start_byte]
    for end in range(len(last.path), 0, -1):
        first = next((s for s in before if s.path == last.path[:end] and (s.value or end == len(last.path))), None)
        if first:
            name = ".".join(map(str, first.path))
            return name, position(text, last.key), first.key.start_point[0] + 1
    return None


def position(text: str, node: Node) -> Position:
    """A node's start in characters, and the length of its first line."""
    row, offset = node.start_point
    line = text.removeprefix("\ufeff").encode().split(b"\n")[row].rstrip(b"\r")
    column = len(line[:offset].decode()) + 1
    end = node.end_point[1] if node.end_point[0] == row else len(line)
    return Position(row + 1, column, max(1, len(line[offset:end].decode())))


def spans(text: str) -> Iterator[Span]:
    """Every key of the text, in its order."""
    tree = Parser(Language(tree_sitter_toml.language())).parse(text.removeprefix("\ufeff").encode())
    elements: dict[TomlPath, int] = {}  # [[path]] -> index of its element so far
    for node in tree.root_node.children:
        if node.type == "pair":
            yield from pair(node, ())
        elif node.type in ("table", "table_array_element") and node.named_children:
            key, *children = node.named_children
            path: TomlPath = ()
            for part in parts(key):
                yield Span(path := (*path, name(part)), part, implied=True)
                if path in elements and part != parts(key)[-1]:
                    path = (*path, elements[path])  # [a.b] below [[a]] is in its last element
            yield Span(path, key)
            if node.type == "table_array_element":
                elements[path] = elements.get(path, -1) + 1
                yield Span(path := (*path, elements[path]), key)
            for child in children:
                if child.type == "pair":
                    yield from pair(child, path)


def pair(node: Node, above: TomlPath, inline: bool = False) -> Iterator[Span]:
    """The spans of key = value, and of what is inside the value."""
    key, *values = [child for child in node.named_children if child.type != "comment"]
    *tables, last = parts(key)
    for part in tables:
        yield Span(above := (*above, name(part)), part, inline=inline, implied=True)
    path = (*above, name(last))
    if values:  # none after a syntax error
        yield Span(path, last, values[0], inline)
        yield from inside(values[0], path)


def inside(value: Node, path: TomlPath) -> Iterator[Span]:
    """The spans inside an inline table or an array."""
    children = [child for child in value.named_children if child.type != "comment"]
    if value.type == "inline_table":
        for child in children:
            yield from pair(child, path, inline=True)
    elif value.type == "array":
        for index, child in enumerate(children):
            yield Span((*path, index), child, child, inline=True)
            yield from inside(child, (*path, index))


def parts(key: Node) -> list[Node]:
    """The names in a bare, quoted or dotted key."""
    return [part for child in key.named_children for part in parts(child)] if key.type == "dotted_key" else [key]


def name(part: Node) -> str:
    """A bare or quoted name."""
    text = (part.text or b"").decode()
    return next(iter(tomllib.loads(f"{text} = 0"))) if part.type == "quoted_key" else text
