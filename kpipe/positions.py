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


def find(text: str, path: TomlPath, on: str) -> Position | None:
    """Position of the key ("key") or the value ("value") at a path, or of the nearest table above it that is there."""
    found = dict(spans(text))
    for end in range(len(path), 0, -1):
        nodes = found.get(path[:end])
        if nodes:
            key, value = nodes
            return position(text, value if on == "value" and end == len(path) and value is not None else key)
    return None


def position(text: str, node: Node) -> Position:
    """A node's start in characters, and the length of its first line."""
    row, offset = node.start_point
    line = text.encode().split(b"\n")[row]
    column = len(line[:offset].decode()) + 1
    end = node.end_point[1] if node.end_point[0] == row else len(line)
    return Position(row + 1, column, max(1, len(line[offset:end].decode())))


def spans(text: str) -> Iterator[tuple[TomlPath, tuple[Node, Node | None]]]:
    """Every path in the text with the node of its key and the node of its value."""
    tree = Parser(Language(tree_sitter_toml.language())).parse(text.encode())
    tables: dict[TomlPath, int] = {}
    for node in tree.root_node.children:
        if node.type == "pair":
            yield from pair(node, ())
        elif node.type in ("table", "table_array_element"):
            key = node.named_children[0]
            path: TomlPath = names(key)
            if node.type == "table_array_element":
                tables[path] = tables.get(path, -1) + 1
                yield path, (key, None)
                path = (*path, tables[path])
            yield path, (key, None)
            for child in node.named_children[1:]:
                if child.type == "pair":
                    yield from pair(child, path)


def pair(node: Node, above: TomlPath) -> Iterator[tuple[TomlPath, tuple[Node, Node | None]]]:
    """Paths of key = value, and of what is inside the value."""
    key, value = [child for child in node.named_children if child.type != "comment"][:2]
    path = (*above, *names(key))
    yield path, (key, value)
    yield from inside(value, path)


def inside(value: Node, path: TomlPath) -> Iterator[tuple[TomlPath, tuple[Node, Node | None]]]:
    """Paths inside an inline table or an array."""
    children = [child for child in value.named_children if child.type != "comment"]
    if value.type == "inline_table":
        for child in children:
            yield from pair(child, path)
    elif value.type == "array":
        for index, child in enumerate(children):
            yield (*path, index), (child, child)
            yield from inside(child, (*path, index))


def names(key: Node) -> tuple[str, ...]:
    """The parts of a bare, quoted or dotted key."""
    if key.type == "dotted_key":
        return tuple(name for child in key.named_children for name in names(child))
    text = (key.text or b"").decode()
    if key.type == "quoted_key":
        return (next(iter(tomllib.loads(f"{text} = 0"))),)
    return (text,)
