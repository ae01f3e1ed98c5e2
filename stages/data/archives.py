"""A data set in an archive: unpacked into the stage's scratch folder, file by file, and read as a folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from kpipe.stage import Stage
from stages.data import folders
from stages.data.datasets import DataSet
from stages.data.files import hidden, printable
from stages.data.images import Look
from stages.data.splits import FOLDER_NAMES
from stages.data.unpacking import unpack


def read(stage: Stage, archive: Path, look: Look, nested: folders.Nested = "join") -> DataSet:
    """The data set in an archive of class folders, the same as that of the unpacked folder.

    Where it holds a single folder with folders in it, that one is read. Links and devices are named and not unpacked.
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
    shutil.rmtree(into, ignore_errors=True)
    return replace(dataset, skipped=sorted([*dataset.skipped, *unpacked.refused]))


def _root(folder: Path) -> Path:
    """The folder itself, or the only one in it if that has folders in it and is not the train folder."""
    visible = [path for path in folder.iterdir() if not hidden(path.name)]
    if len(visible) != 1 or not visible[0].is_dir() or visible[0].name.lower() in FOLDER_NAMES:
        return folder
    [only] = visible
    return _root(only) if any(path.is_dir() and not hidden(path.name) for path in only.iterdir()) else folder
