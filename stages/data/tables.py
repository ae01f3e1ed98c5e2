"""A data set in a table: path, label and, where wanted, split and group of every image."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kpipe.stage import Stage, StageError
from stages.data import table_files
from stages.data.datasets import DataSet
from stages.data.files import Candidate, printable
from stages.data.images import Look
from stages.data.labelled import Labelled, decoded
from stages.data.splits import FOLDER_NAMES, listed

SHOWN = 3  # faults that are told of many


@dataclass(frozen=True)
class Row:
    """One image of a table."""

    line: int
    path: str  # relative to the table, normalised
    label: str
    split: str
    group: str


def read(stage: Stage, table: Path, images: Path, look: Look) -> DataSet:
    """The data set of a CSV or Parquet file, whose paths are relative to it and lie in the folder `images`.

    Where one of the two is behind a URL and the other is not, or they are on different hosts, paths are relative to `images`.
    StageError where rows cannot be true, with their lines: absolute paths or such that leave the table's folder or `images`,
    missing files, unknown splits, one path with two labels.
    """
    columns, cells = table_files.rows(table)
    if unread := [c for c in columns if c not in (*table_files.NEEDED, *table_files.OPTIONAL)]:
        stage.notice(f"{table.name}: columns that are not read: {listed(unread)}")
    found = [_row(line, row) for line, row in cells]
    base = images if _apart(stage, table, images) else table.parent
    _refuse(table, [(row.line, fault) for row in found for fault in _faults(row, base, images)])
    rows = _once(stage, table, found)
    _check_splits(table, rows)
    files, unusable = [], []
    for row in rows:
        path = base / row.path
        file = Candidate(path, printable(row.path))
        if stat.S_ISREG(path.stat().st_mode):
            files.append(Labelled(file, label=printable(row.label), split=row.split, group=row.group))
        else:
            unusable.append((file.name, "not a regular file"))
    result = decoded(stage, files, look)
    return DataSet(
        name=table.name,
        source=table.name,
        classes=sorted({printable(row.label) for row in rows}),
        items=result.items,
        pixels=result.pixels,
        given=sorted({row.split for row in rows} - {""}),
        skipped=sorted([*unusable, *result.skipped, *((name, "not an image") for name in result.others)]),
    )


def _row(line: int, cells: Mapping[str, str]) -> Row:
    split = cells.get("split", "").strip()
    path = os.path.normpath(cells["path"]) if cells["path"].strip() else ""
    return Row(line, path, cells["label"].strip(), FOLDER_NAMES.get(split.lower(), split), cells.get("group", "").strip())


def _apart(stage: Stage, table: Path, images: Path) -> bool:
    """Whether the table and the images lie in different places, so that no path leads from one to the other."""
    behind = [name in stage.urls for name in ("source", "images")]
    return any(behind) and not (all(behind) and _inside(images, table.parent))


def _faults(row: Row, base: Path, images: Path) -> Iterator[str]:
    """What is wrong with one row."""
    if not row.path or not row.label:
        yield "no path" if not row.path else "no label"
        return
    if row.split and row.split not in FOLDER_NAMES.values():
        yield f"split {row.split!r} is none of {', '.join(FOLDER_NAMES)}"
    turned = row.path.replace("\\", "/")
    shown, whose = printable(row.path), "images" if base == images else "the table"
    if os.path.isabs(row.path) or row.path[1:3] in (":\\", ":/"):
        yield f"{shown} is an absolute path; paths are relative to {whose}"
    elif row.path.split("/")[0] == "..":
        yield f"{shown} leaves {'images' if base == images else 'the folder of the table'}"
    elif turned != row.path and not os.path.lexists(base / row.path) and os.path.lexists(base / turned):
        yield f"{printable(turned)} is written with backslashes; write /"
    elif not _inside(base / row.path, images):
        yield f"{shown} lies outside images = {images.name}"
    else:
        yield from _missing(base / row.path, shown, images / row.path)


def _inside(path: Path, folder: Path) -> bool:
    """Whether a path lies below a folder as both are written, links not followed: so the folder's digest counts its file."""
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder))


def _missing(path: Path, shown: str, other: Path) -> Iterator[str]:
    try:
        path.stat()
    except (OSError, ValueError) as e:  # ValueError: a zero byte
        reason = (e.strerror or "unreadable").lower() if isinstance(e, OSError) else "no path"
        form = next((form for form in ("NFC", "NFD") if os.path.lexists(unicodedata.normalize(form, str(path)))), None)
        meant = (
            "; there is one in images, but paths are relative to the table" if os.path.lexists(other)
            else f"; there is one whose letters are composed in another way (Unicode {form})" if form
            else ""
        )  # fmt: skip
        yield f"{shown}: {reason}{meant}"


def _once(stage: Stage, table: Path, rows: Sequence[Row]) -> list[Row]:
    """The rows without repetitions; StageError where two with one path differ."""
    first: dict[str, Row] = {}
    again: list[Row] = []
    faults = []
    for row in rows:
        known = first.setdefault(row.path, row)
        if known is row:
            continue
        again.append(row)
        for name in ("label", "split", "group"):
            one, other = getattr(known, name), getattr(row, name)
            if one != other:
                faults.append((row.line, f"{printable(row.path)} has the {name} {other!r}, but {one!r} in line {known.line}"))
    _refuse(table, faults)
    if again:
        stage.notice(f"{table.name}: {len(again)} rows repeat an earlier one and are left out, the first in line {again[0].line}")
    return list(first.values())


def _check_splits(table: Path, rows: Sequence[Row]) -> None:
    """StageError unless all rows have a split or none has, and some train."""
    if not rows:
        raise StageError(f"{table.name} has no rows", hint="one line an image: path,label")
    splits = {row.split for row in rows}
    if "" in splits and len(splits) > 1:
        _refuse(table, [(row.line, "no split, but other rows have one") for row in rows if not row.split])
    if "train" not in splits and splits != {""}:
        raise StageError(f"{table.name} has {listed(sorted(splits))} but no train rows", hint="add rows with split train")


def _refuse(table: Path, faults: Sequence[tuple[int, str]]) -> None:
    if faults:
        told = "; ".join(f"line {line}: {fault}" for line, fault in faults[:SHOWN])
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise StageError(f"{table.name}, {told}{more}", hint="mend these rows, or remove them")
