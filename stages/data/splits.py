"""Which folders are classes and which are splits, and whether every class is in every split."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kpipe.stage import StageError
from stages.data.manifest import SPLITS, Item

FOLDER_NAMES = {
    "train": "train", "training": "train", "validation": "validation", "val": "validation", "valid": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """How a data set's folders are to be read."""

    splits: Mapping[str, str]  # folder -> split; empty where the folders are the classes
    classes: tuple[str, ...]  # sorted

    def place(self, name: str) -> tuple[str, str] | None:
        """Split ("" where none is given) and class of a file, or None where it lies outside the class folders."""
        parts = name.split("/")
        if not self.splits:
            return ("", parts[0]) if len(parts) > 1 else None
        return (self.splits[parts[0]], parts[1]) if len(parts) > 2 and parts[0] in self.splits else None


def layout(folders: Sequence[str]) -> Layout:
    """The layout that folder names (relative, with "/") tell: class/, or class/ in folders of FOLDER_NAMES.

    Folders are read as splits where there is train/ beside another split's folder, or train/ alone with folders in it.
    StageError where they can be read neither way.
    """
    inner = {top: {f.split("/")[1] for f in folders if f.startswith(f"{top}/")} for top in folders if "/" not in top}
    splits = {top: FOLDER_NAMES[top.lower()] for top in inner if top.lower() in FOLDER_NAMES}
    if not inner:
        raise StageError(
            "no class folders in it", hint="put the images of each class into a folder of their own, or name them in a table"
        )
    if len(splits) == len(inner) > 1 and "train" not in splits.values():
        raise StageError(f"{listed(list(splits))} but no train folder", hint="add train/, with one folder a class")
    train = next((top for top, split in splits.items() if split == "train"), None)
    if train is None or (len(splits) == 1 and (len(inner) > 1 or not inner[train])):
        return Layout({}, tuple(sorted(inner)))
    _check_split_folders(train, splits, inner)
    return Layout(splits, tuple(sorted(inner[train])))


def _check_split_folders(train: str, splits: Mapping[str, str], inner: Mapping[str, set[str]]) -> None:
    if others := [top for top in inner if top not in splits]:
        raise StageError(f"{listed(others)} beside the split folders {listed(list(splits))}", hint="move it elsewhere")
    for split in SPLITS:
        twice = [top for top in splits if splits[top] == split]
        if len(twice) > 1:
            raise StageError(f"{listed(twice)} are both the {split} folder", hint="keep one of them")
    for top, classes in inner.items():
        if not classes:
            raise StageError(f"{top}/ has no class folders", hint=f"put its images into {top}/CLASS/")
        only = {train: inner[train] - classes, top: classes - inner[train]}
        if any(only.values()):
            refuse_alike(sorted(classes | inner[train]))
            told = "; ".join(f"{listed(sorted(names))} only in {name}/" for name, names in only.items() if names)
            raise StageError(f"{train}/ and {top}/ differ in their classes: {told}", hint="every split needs every class")


def refuse_alike(classes: Sequence[str]) -> None:
    """StageError where two classes differ only by case, by white space, or by how Unicode composes their letters."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(" ".join(unicodedata.normalize("NFC", name.lower()).split()), []).append(name)
    if twice := [names for names in alike.values() if len(names) > 1]:
        raise StageError(
            f"classes that look alike: {listed([' and '.join(map(ascii, names)) for names in twice])}",
            hint="they differ only by case or in how their letters are encoded: give them one name",
        )


def check_classes(items: Sequence[Item], classes: Sequence[str], given: Sequence[str]) -> None:
    """StageError unless there are two classes, no two alike, none of them without images, also in each split `given`."""
    refuse_alike(classes)
    if len(classes) < 2:
        raise StageError(f"only one class ({listed(classes)})", hint="a classifier needs two: one folder a class")
    counts = count(items)
    for split in given or ("",):
        if empty := [c for c in classes if not counts[split, c]]:
            where = f" in {split}" if split else ""
            raise StageError(
                f"no readable image of {listed(empty)}{where}",
                hint="every split needs every class: add images, or remove the class",
            )


def count(items: Sequence[Item]) -> Counter[tuple[str, str]]:
    """Number of images of each (split, class)."""
    return Counter((item.split, item.label) for item in items)


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names for a sentence, the first few of many."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
