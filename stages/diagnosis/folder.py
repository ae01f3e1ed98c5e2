"""Images of a folder for a network that another program trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage, StageError
from stages.data import assignment, duplicates, folders, inspection, splits
from stages.data.datasets import DataSet
from stages.data.duplicates import Copies
from stages.data.images import Look
from stages.data.labels import sample
from stages.data.manifest import Item

LOOKED_AT = 512  # images of each split
LAYOUT = "--data FOLDER holds one folder a class, or train/ and validation/ with these"
VALIDATION = 0.3  # of the images of each class, where the folders name no validation split


@dataclass(frozen=True)
class Pictures:
    """Some images of a split, uint8 RGB (N, H, W, 3), with their class indices and where they come from."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    items: Sequence[Item]


@dataclass(frozen=True)
class Folder:
    """`train` and `validation` are samples; `items` are all images of both."""

    classes: Sequence[str]
    train: Pictures
    validation: Pictures
    items: Sequence[Item]
    copies: Copies  # among the items: exact ones, or encoded anew, resized or mirrored
    own_split: bool  # whether the folders name a validation split: else some images stand for it, trained on or not

    @property
    def training_labels(self) -> NDArray[np.int32]:
        """Class indices of all training images."""
        return np.array([self.classes.index(item.label) for item in self.items if item.split == "train"], np.int32)

    @property
    def leaked(self) -> dict[str, str]:
        """Paths of the validation sample's images that are copies of training images -> path of such a one.

        None where the folders name no split: it is not theirs that has copies then.
        """
        if not self.own_split:
            return {}
        shown = {item.path for item in self.validation.items}
        rows = [row for row, item in enumerate(self.items) if item.path in shown]
        trained = [row for row, item in enumerate(self.items) if item.split == "train"]
        found = duplicates.originals(self.copies, rows, trained)
        return {self.items[row].path: self.items[of].path for row, of in found.items()}


def read(stage: Stage, path: Path, size: tuple[int, int]) -> Folder:
    """The pictures below a folder, stretched to a size; StageError where it is no data set."""
    if not path.is_dir():
        raise StageError(f"{path}: {'a file, no folder' if path.exists() else 'no such folder'}", hint=LAYOUT)
    beside = unneeded(path)
    found = folders.read(stage, path, Look(size), leave_out=beside)
    if beside:
        stage.notice(f"left out in {path.name}: {', '.join(f'{name}/' for name in beside)}")
    if found.skipped:
        stage.notice(found.bad("skipped"))
    found = test_as_validation(stage, found)
    splits.check_classes(found.items, found.classes, found.given)
    shares = {} if "validation" in found.given else {"validation": VALIDATION}
    if shares:
        stage.notice(f"{path.name} has no validation folder: {VALIDATION:.0%} of each class stand for it, trained on or not")
    copies = inspection.look(stage, found.items, found.pixels, size).found
    items = spread(stage, found.items, shares, copies)

    def some(split: str) -> Pictures:
        of_split = [item for item in items if item.split == split]
        chosen = [of_split[i] for i in sample(np.arange(len(of_split)), LOOKED_AT, 0)]
        labels: Any = [found.classes.index(item.label) for item in chosen]
        return Pictures(np.stack([found.pixels(item) for item in chosen]), np.array(labels, np.int32), chosen)

    return Folder(found.classes, some("train"), some("validation"), items, copies, own_split=not shares)


def unneeded(path: Path) -> list[str]:
    """Folders beside train/ that hold neither validation images nor, where there are none, test images."""
    tops = {place.name: splits.FOLDER_NAMES.get(place.name.lower()) for place in sorted(path.iterdir()) if place.is_dir()}
    judged = "validation" if "validation" in tops.values() else "test"
    if "train" not in tops.values() or judged not in tops.values():
        return []
    return [name for name, split in tops.items() if split not in ("train", judged) and not name.startswith(".")]


def test_as_validation(stage: Stage, found: DataSet) -> DataSet:
    """The data set with its test images for validation ones, where it has no others."""
    if "test" not in found.given:
        return found
    stage.notice(f"{found.name} has no validation folder: its test images stand for it")
    items = [replace(item, split="validation") if item.split == "test" else item for item in found.items]
    return replace(found, items=items, given=["train", "validation"])


def spread(stage: Stage, items: Sequence[Item], shares: Mapping[str, float], copies: Copies) -> list[Item]:
    """The images with their splits, copies together; near ones apart where a class has nothing else."""
    try:
        return assignment.assign(items, shares, 0, "exact", assignment.units(items, copies.all.tolist()))
    except StageError:
        placed = assignment.assign(items, shares, 0, "exact", assignment.units(items, copies.exact.tolist()))
    stage.notice("a class has too few images that are no near copies of each other: some stand for validation all the same")
    return placed
