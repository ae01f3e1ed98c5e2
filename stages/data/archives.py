"""A data set in an archive: unpacked into the stage's scratch folder, file by file, and read as a folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from kpipe.stage import Stage
from stages.data import folders
from stages.data.datasets import DataSet
from stages.data.files import Candidate, hidden, printable
from stages.data.images import Look
from stages.data.splits import FOLDER_NAMES
from stages.data.unpacking import unpack


def read(stage: Stage, archive: Path, look: Look, nested: folders.Nested = "join") -> DataSet:
    """The data set in an archive of class folders, the same as that of the unpacked folder.

    Where it holds a single folder with folders in it, that one is read, and what lies beside is counted.
    Links and devices are named and not unpacked.
    Raises StageError for names that would leave the folder, damage, passwords, and decompression bombs.
    """
    into = stage.scratch / "unpacked"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    unpacked = unpack(archive, into)
    root = _root(into)
    if root != into:
        stage.notice(f"{archive.name}: the data set is the folder {printable(root.name)}/ in it")
    dataset = folders.read(stage, root, look, nested, name=archive.name)
    stray, ignored = _beside(into, root)
    outside, beside = folders.loose(stray)
    shutil.rmtree(into, ignore_errors=True)
    return replace(
        dataset,
        skipped=sorted([*dataset.skipped, *unpacked.refused, *outside]),
        others=sorted([*dataset.others, *beside]),
        ignored=dataset.ignored + ignored,
    )


def _root(folder: Path) -> Path:
    """The folder itself, or the only one in it if that has folders in it and is not the train folder; files beside it or not."""
    inner = [path for path in folder.iterdir() if path.is_dir() and not hidden(path.name)]
    if len(inner) != 1 or inner[0].name.lower() in FOLDER_NAMES:
        return folder
    [only] = inner
    return _root(only) if any(path.is_dir() and not hidden(path.name) for path in only.iterdir()) else folder


def _beside(top: Path, root: Path) -> tuple[list[Candidate], int]:
    """Files that lie above the data set's folder, with a "/" before their names, and how many entries there are hidden."""
    found = [path for folder in root.parents if folder.is_relative_to(top) for path in folder.iterdir()]
    files = [path for path in found if path.is_file() and not hidden(path.name)]
    return [Candidate(path, f"/{printable(path.relative_to(top).as_posix())}") for path in files], sum(
        hidden(path.name) for path in found
    )
