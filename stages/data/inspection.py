"""What is odd about the pictures of a data set, and what is done about copies among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage, StageError
from stages import json_files
from stages.data import copies, cues, decoded, duplicates, manifest, outliers, perceptual, splits, thumbnail, traits
from stages.data.duplicates import Copies
from stages.data.manifest import Item
from stages.data.traits import Traits

Handling = Literal["report", "drop", "error"]
Pixels = Callable[[Item], NDArray[np.uint8]]
PAIRS_SHOWN = 12  # of exact copies, and of near ones
OUTLIERS_SHOWN = 8  # of each property


@dataclass(frozen=True)
class Inspected:
    """The images that stay, numbered anew, and what was found."""

    items: list[Item]
    told: dict[str, Any]  # for audit.json
    groups: NDArray[np.int64]  # for each item; the same number for copies
    pictures: Mapping[str, str]  # path -> JPEG in base64, of the images that `told` wants shown

    def write(self, folder: Path) -> None:
        """duplicates.csv and pictures.json into ingest's artifact."""
        copies.write(folder, self.items, self.groups)
        json_files.write(folder / "pictures.json", self.pictures)


@dataclass(frozen=True)
class Looked:
    """What was seen of images, in their order."""

    seen: Traits
    found: Copies


def look(stage: Stage, items: Sequence[Item], pixels: Pixels, size: tuple[int, int]) -> Looked:
    """Look at every prepared picture once."""
    seen = traits.measure((pixels(item) for item in decoded.counted(stage, items, "looking")), size)
    found = duplicates.find(items, seen)
    if found.near.distance < perceptual.DISTANCE:
        stage.notice("the images are too alike to look for all near copies")
    return Looked(seen, found)


def inspect(stage: Stage, items: Sequence[Item], looked: Looked, pixels: Pixels, handling: Handling, seed: int) -> Inspected:
    """What was seen, told. Copies are told, an error, or leave training; images of other splits all stay."""
    seen, found = looked.seen, looked.found
    if handling == "error":
        _refuse(items, found)
    surplus = duplicates.surplus(items, found) if handling == "drop" else {}
    rows = np.array([row for row in range(len(items)) if row not in surplus], np.int64)
    kept = manifest.numbered(items[row] for row in rows)
    _check_classes_left(items, kept)
    shown = list(duplicates.telling(items, found, PAIRS_SHOWN))
    left = found.of(rows)
    told: dict[str, Any] = {
        "duplicates": {
            **duplicates.summary(kept, left),
            "handling": handling,
            "shown": shown,
            "dropped": [{"path": items[row].path, "copy_of": items[of].path} for row, of in surplus.items()],
            "dropped_conflicts": sum(items[row].label != items[of].label for row, of in surplus.items()),
        },
        "outliers": outliers.find(kept, seen.of(rows)),
        "cues": cues.find(kept, seen.of(rows), seed),
        "too_few_for_cues": cues.too_few(kept, seed),
    }
    _notice(stage, told["duplicates"])
    paths = set(_paths(told))
    return Inspected(kept, told, left.all, {item.path: thumbnail.jpeg(pixels(item)) for item in items if item.path in paths})


def _paths(told: Mapping[str, Any]) -> Iterator[str]:
    for pair in told["duplicates"]["shown"]:
        yield from pair["paths"]
    for one in told["outliers"].values():
        yield from (image["path"] for image in one["images"][:OUTLIERS_SHOWN])


def _refuse(items: Sequence[Item], found: Copies) -> None:
    if not (groups := duplicates.groups(found.all)):
        return
    groups.sort(key=lambda group: -duplicates.crosses(items, group) - duplicates.conflicts(items, group))
    worst = [duplicates.worst(items, group) for group in groups]
    pairs = splits.listed([f"{items[a].path} = {items[b].path}" for a, b in worst], most=3)
    raise StageError(
        f"images that are copies of others: {sum(len(group) - 1 for group in groups)}, {pairs}",
        hint='remove one of each, or set duplicates = "drop" (copies leave training) or "report"',
    )


def _check_classes_left(items: Sequence[Item], kept: Sequence[Item]) -> None:
    left = {item.label for item in kept if item.split == "train"}
    if gone := sorted({item.label for item in items if item.split == "train"} - left):
        raise StageError(
            f"all training images of {splits.listed(gone)} are copies of validation, test or other training images",
            hint='add images, or set duplicates = "report"',
        )


def _notice(stage: Stage, told: Mapping[str, Any]) -> None:
    """What a person must know about copies: what was dropped, and what lies in several splits."""
    if dropped := told["dropped"]:
        first = splits.listed([f"{one['path']} = {one['copy_of']}" for one in dropped], most=3)
        images = "image" if len(dropped) == 1 else "images"
        other = f"; {told['dropped_conflicts']} of another class than its copy" if told["dropped_conflicts"] else ""
        stage.notice(f"{len(dropped)} training {images} dropped, for which copies stay: {first}{other}")
    exact, near = told["across_splits"], told["near"]["across_splits"]
    if exact + near:
        hint = "" if told["handling"] == "drop" else '; set duplicates = "drop" to take them out of training'
        lie = "image lies" if exact + near == 1 else "images lie"
        how = f", {exact} as exact and {near} as near copies" if exact and near else f" as {'exact' if exact else 'near'} copies"
        stage.notice(f"{exact + near} {lie} in more than one split{how}; see the audit{hint}")
