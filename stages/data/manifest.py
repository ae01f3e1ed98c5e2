"""manifest.csv: one row an image, in the order of images.npy."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

SPLITS = ("train", "validation", "test")
COLUMNS = ("row", "path", "label", "split", "hash", "width", "height", "mode", "format", "bytes", "group", "fold")
NUMBERS = ("row", "width", "height", "bytes", "fold")


@dataclass(frozen=True, slots=True)
class Item:
    """One image: where it came from, what it is, and to which split it belongs."""

    path: str  # relative to the source, with "/"
    label: str  # name of its class
    hash: str  # SHA-256 of the file's bytes, hexadecimal
    width: int  # of the original, upright, in pixels
    height: int
    mode: str  # Pillow's name: RGB, L, CMYK, ...
    format: str  # Pillow's name: JPEG, PNG, ...
    bytes: int
    row: int = -1  # index into images.npy
    split: str = ""  # train, validation or test; empty as long as none is assigned
    group: str = ""  # images of one group are never in two splits or folds; empty: a group of its own
    fold: int = -1  # of cross-validation, from 0; -1 for test images, and where there are no folds


def numbered(items: Iterable[Item]) -> list[Item]:
    """Items sorted by path, each with its row."""
    return [replace(item, row=row) for row, item in enumerate(sorted(items, key=lambda i: i.path))]


def write(path: Path, items: Iterable[Item]) -> None:
    """Write the table: UTF-8, one header line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(item) for item in items)


def read(path: Path) -> list[Item]:
    """The items of a manifest, in order."""
    with path.open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    return [Item(**(row | {name: int(row[name]) for name in NUMBERS})) for row in rows]
