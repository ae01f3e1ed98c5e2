"""Rows of a CSV or Parquet file, with the lines that they stand in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kpipe.stage import StageError

NEEDED, OPTIONAL = ("path", "label"), ("split", "group")
DELIMITERS = ",;\t|"
Row = tuple[int, Mapping[str, str]]  # line (of a Parquet file: row, from 1), and what its columns hold


def rows(path: Path) -> tuple[list[str], list[Row]]:
    """Names of a table's columns, and its rows with all cells as text; StageError where it cannot be read.

    A CSV is UTF-8, with or without a byte order mark; commas, semicolons, tabs or bars part its columns.
    """
    try:
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        return parquet_rows(path) if parquet else csv_rows(path)
    except OSError as e:
        raise StageError(
            f"{path.name}: {(e.strerror or 'unreadable').lower()}", hint="mend the file, or its permissions"
        ) from None


def csv_rows(path: Path) -> tuple[list[str], list[Row]]:
    """As `rows`."""
    text = decoded(path)
    header = next(iter(text.splitlines()), "")
    delimiter = max(DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = checked(path, [name.strip().lower() for name in next(reader, [])])
        return columns, list(csv_cells(path, reader, columns))
    except csv.Error as e:
        raise StageError(
            f"{path.name}, line {reader.line_num}: {e}", hint='put text that holds quotation marks into "...", the marks doubled'
        ) from None


def csv_cells(path: Path, reader: Iterator[list[str]], columns: Sequence[str]) -> Iterator[Row]:
    """Every row that is not empty; StageError where it has another number of cells than there are columns."""
    line = 2
    for cells in reader:
        if any(cells):
            if len(cells) != len(columns):
                raise StageError(
                    f"{path.name}, line {line}: {len(cells)} cells, but {len(columns)} columns",
                    hint='put a name that holds the delimiter into "..."',
                )
            yield line, dict(zip(columns, cells, strict=True))
        line = reader.line_num + 1  # type: ignore[attr-defined]


def decoded(path: Path) -> str:
    """The text of a file in UTF-8; StageError names the line that is in no such text."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = content[: e.start].count(b"\n") + 1
        raise StageError(f"{path.name}, line {line}: not UTF-8 text", hint="save it as CSV UTF-8, or as Parquet") from None


def parquet_rows(path: Path) -> tuple[list[str], list[Row]]:
    """As `rows`; needs pyarrow, which pandas reads Parquet with."""
    import pandas

    try:
        table = pandas.read_parquet(path, engine="pyarrow", dtype_backend="numpy_nullable")
    except ImportError:
        raise StageError(
            f"{path.name} is a Parquet file, and pyarrow is missing", hint="pip install pyarrow, or save CSV"
        ) from None
    except (ValueError, OSError, NotImplementedError) as e:  # pyarrow's errors are ValueErrors and OSErrors
        told = (str(e) or "damaged").splitlines()[0]
        raise StageError(f"{path.name} is a Parquet file that cannot be read: {told}", hint="write it again") from None
    table.columns = [str(name).strip().lower() for name in table.columns]
    columns = checked(path, list(table.columns))
    wanted = [name for name in columns if name in (*NEEDED, *OPTIONAL)]
    cells = zip(
        *(["" if missing else str(cell) for cell, missing in zip(table[c], table[c].isna(), strict=True)] for c in wanted),
        strict=True,
    )
    return columns, [(line, dict(zip(wanted, row, strict=True))) for line, row in enumerate(cells, start=1)]


def checked(path: Path, columns: list[str]) -> list[str]:
    """The columns; StageError where one that is needed is missing, or stands twice."""
    allowed = f"columns: {', '.join(NEEDED)}, and if wanted {', '.join(OPTIONAL)}; the first line names them"
    if missing := [name for name in NEEDED if name not in columns]:
        has = ", ".join(name for name in columns if name) or "nothing"
        raise StageError(f"{path.name} has no column {' and no '.join(missing)}; it has {has}", hint=allowed)
    if twice := [name for name in (*NEEDED, *OPTIONAL) if columns.count(name) > 1]:
        raise StageError(f"{path.name} has the column {twice[0]} twice", hint=allowed)
    return columns
