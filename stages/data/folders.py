"""A data set in folders: one a class, below train/, validation/ and test/ or not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from kpipe.stage import Stage, StageError
from stages.data.datasets import DataSet
from stages.data.files import Candidate, find
from stages.data.images import Look, recognised
from stages.data.labelled import Labelled, decoded
from stages.data.splits import Layout, layout, listed

Nested = Literal["join", "error"]


def read(
    stage: Stage, folder: Path, look: Look, nested: Nested = "join", name: str = "", leave_out: Collection[str] = ()
) -> DataSet:
    """The data set below a folder, its files decoded; StageError where its layout is none that a data set has.

    `nested` says what becomes of images in folders below their class's; `name` is the data set's where it is not the folder's;
    `leave_out` are folders right below it that are no part of it.
    """
    found = find(folder).without(leave_out)
    name = name or folder.name
    try:
        how = layout(found.folders)
        _enough(name, how, found.folders)
        placed, stray = _placed(found.candidates, how)
        _deeper(stage, placed, how, nested)
    except StageError as e:
        raise StageError(f"{name}: {e.message}", hint=e.hint) from None
    result = decoded(stage, placed, look)
    outside, beside = loose(stray)
    return DataSet(
        name=name,
        source=name,
        classes=how.classes,
        items=result.items,
        pixels=result.pixels,
        given=sorted(set(how.splits.values())),
        skipped=sorted([*found.unusable, *result.skipped, *outside]),
        others=sorted([*result.others, *beside]),
        ignored=found.ignored,
    )


def loose(stray: Sequence[Candidate]) -> tuple[list[tuple[str, str]], list[str]]:
    """Files outside the class folders: those that are or claim to be images, each with that reason, and all others."""
    images = {c.name for c in stray if c.claims_image or recognised(c.path)}
    return [(name, "outside the class folders") for name in sorted(images)], [c.name for c in stray if c.name not in images]


def _placed(candidates: Sequence[Candidate], how: Layout) -> tuple[list[Labelled], list[Candidate]]:
    """The files in class folders, with their class, and those outside."""
    places = [(c, how.place(c.name)) for c in candidates]
    return [Labelled(c, label=at[1], split=at[0]) for c, at in places if at], [c for c, at in places if not at]


def _enough(name: str, how: Layout, folders: Sequence[str]) -> None:
    """StageError where there is one class alone, before anything is decoded."""
    if len(how.classes) > 1 or how.splits:
        return
    inner = sorted(folder.split("/")[1] for folder in folders if folder.count("/") == 1)
    wrapped = f"if its folders ({listed(inner, most=3)}) are the classes, give {name}/{how.classes[0]}"
    raise StageError(
        f"only one class ({how.classes[0]})",
        hint=wrapped if len(inner) > 1 else "a classifier needs two: one folder a class",
    )


def _deeper(stage: Stage, placed: Sequence[Labelled], how: Layout, nested: Nested) -> None:
    """Say that images lie below their class's folder, or refuse it."""
    depth = 3 if how.splits else 2
    deep = [file.name for file in placed if file.name.count("/") >= depth]
    if not deep:
        return
    folders = listed(sorted({name.rpartition("/")[0] for name in deep}), most=3)
    if nested == "error":
        raise StageError(
            f"files that lie deeper than their class folder: {len(deep)}, in {folders}",
            hint='move them up, make these folders classes, or set nested = "join" to take them into the class above',
        )
    inner = {label: {file.name.split("/")[depth - 1] for file in placed if file.label == label} for label in how.classes}
    [same, *others] = inner.values()
    suspect = len(deep) == len(placed) and len(same) > 1 and all(names == same for names in others) and not how.splits
    told = f"files in folders below their class folder are taken into the class above: {len(deep)}, in {folders}"
    rename = f"; if {listed(sorted(same), most=3)} are the classes, call {listed(how.classes)} train, validation or test"
    stage.notice(told + rename * suspect)
