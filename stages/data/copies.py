"""duplicates.csv: which images are copies of each other, one row an image that has a copy."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.data.manifest import Item

NAME = "duplicates.csv"
COLUMNS = ("row", "path", "split", "label", "group")


def write(folder: Path, items: Sequence[Item], groups: NDArray[np.int64]) -> None:
    """Write the table into ingest's artifact: UTF-8, one header line. Images with the same number in `groups` are copies."""
    sizes = np.bincount(groups)
    with (folder / NAME).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for item, group in zip(items, groups.tolist(), strict=True):
            if sizes[group] > 1:
                table.writerow((item.row, item.path, item.split, item.label, group))


def identities(folder: Path, items: Sequence[Item]) -> list[str]:
    """One text for each item, the same for copies: exact ones, and the near ones that ingest's artifact tells, if it does."""
    file = folder / NAME
    if not file.is_file():
        return [item.hash for item in items]
    with file.open(encoding="utf-8", newline="") as lines:
        group = {int(row["row"]): row["group"] for row in csv.DictReader(lines)}
    return [group.get(item.row, item.hash) for item in items]
