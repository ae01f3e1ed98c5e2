"""contact_sheet.png: what the network will see of some training images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.augment import Recipe, augment
from stages.data.images import fit
from stages.data.manifest import Item
from stages.pixels import Contract, apply, unapply

COLUMNS = 8
EPOCHS = (0, 1, 2)
LONGEST = 96  # pixels of a cell's longer side
GAP = 4


def chosen(items: Sequence[Item]) -> list[int]:
    """Rows of up to COLUMNS training images, the classes in turn."""
    rows: dict[str, list[int]] = defaultdict(list)
    for item in items:
        if item.split == "train" and len(rows[item.label]) < COLUMNS:
            rows[item.label].append(item.row)
    turns = [(place, label) for label, found in rows.items() for place in range(len(found))]
    return [rows[label][place] for place, label in sorted(turns)[:COLUMNS]]


def write(
    path: Path, images: NDArray[np.uint8], rows: Sequence[int], applied: Contract, wanted: Contract, recipe: Recipe
) -> None:
    """A column for each image. First line: as stored. Second: as weights trained on `wanted` read what `applied` makes of it
    (the same where the two agree). Then, where the recipe changes anything, the stored image in the first epochs.
    """
    pictures = np.stack([images[row] for row in rows])
    lines = [pictures, unapply(wanted, apply(applied, pictures))]
    if recipe.changes:
        lines += [augment(pictures, np.asarray(rows), epoch, recipe) for epoch in EPOCHS]
    montage([[cell(picture) for picture in line] for line in lines]).save(path, optimize=False)


def cell(picture: NDArray[np.uint8]) -> Image.Image:
    """A picture (H, W, 3) with its longer side LONGEST pixels long."""
    height, width = picture.shape[:2]
    scale = LONGEST / max(height, width)
    size = (max(round(height * scale), 1), max(round(width * scale), 1))
    return fit(Image.fromarray(np.ascontiguousarray(picture)), size, "stretch")


def montage(lines: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Cells of one size on white, GAP pixels apart."""
    width, height = lines[0][0].size
    sheet = Image.new("RGB", (len(lines[0]) * (width + GAP) - GAP, len(lines) * (height + GAP) - GAP), "white")
    for y, line in enumerate(lines):
        for x, picture in enumerate(line):
            sheet.paste(picture, (x * (width + GAP), y * (height + GAP)))
    return sheet
