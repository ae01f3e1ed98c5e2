"""Which kind of source a data set comes from."""

from __future__ import annotations

from pathlib import Path

from kpipe.stage import Stage, StageError
from stages.data import archives, folders, keras_sets, samples, tables
from stages.data.datasets import DataSet
from stages.data.folders import Nested
from stages.data.images import Look
from stages.data.unpacking import is_archive, other_archive


def dataset_of(stage: Stage, source: str | Path, images: Path | None, look: Look, nested: Nested) -> DataSet:
    """The data set that `source` names: a sample or a Keras data set by name, a folder, an archive, or a table of `images`."""
    table = isinstance(source, Path) and not source.is_dir() and not is_archive(source)
    if images and not table:
        raise StageError(
            f"images = {images.name} belongs to a table", hint="source names a CSV or Parquet file, or leave images out"
        )
    if isinstance(source, str):
        kind, _, name = source.partition(":")
        return keras_sets.read(stage, name, look) if kind == "keras" else samples.digits(look)
    if source.is_dir():
        return folders.read(stage, source, look, nested)
    if not table:
        return archives.read(stage, source, look, nested)
    if packer := other_archive(source):
        raise StageError(f"{source.name} is {packer}, which is not read", hint="unpack it, or make a .zip or .tar of it")
    if not images:
        raise StageError(
            f"{source.name} is a file and no archive; a table of images needs their folder, so that changed images are noticed",
            hint='images = "photos", the folder below which all its paths lie',
        )
    return tables.read(stage, source, images, look)
