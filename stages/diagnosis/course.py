"""The course of a training as another program wrote it down: a CSV file as keras.callbacks.CSVLogger makes it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from kpipe.stage import Stage, StageError
from stages.diagnosis.seen import Row

HINT = "--history takes a CSV file as keras.callbacks.CSVLogger writes it"
COLUMNS = {  # what Keras calls it elsewhere
    f"{split}{name}": f"{split}accuracy"
    for split in ("", "val_")
    for name in ("acc", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy")
}
READ = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
NOTHING = ("", "NA", "None")


def read(stage: Stage, path: Path) -> list[Row]:
    """Rows of the last training in a history, with what it leaves out said; StageError where it is no CSV file with a loss."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as e:
        raise StageError(f"{path}: {e}", hint=HINT) from None
    names = header(path.name, lines[0] if lines else "")
    runs: list[list[Row]] = [[]]
    for number, cells in cut(stage, path.name, len(names), lines):
        if cells == names:  # a header again: another training was appended
            runs.append([])
            continue
        row = numbers(f"{path.name}:{number}", dict(zip(names, cells, strict=True)))
        if runs[-1] and row.get("epoch", 0.0) <= runs[-1][-1].get("epoch", -1.0):
            runs.append([])
        runs[-1].append(row)
    runs = [rows for rows in runs if rows]
    if not runs:
        raise StageError(f"{path.name} has a header and no rows", hint=HINT)
    if len(runs) > 1:
        stage.notice(f"{path.name} holds {len(runs)} trainings one after the other: the last one is judged")
    if "accuracy" not in runs[-1][-1]:
        stage.notice(
            f"{path.name} has no column accuracy (it has {', '.join(names)}): it is measured on the images that there are"
        )
    return runs[-1]


def header(name: str, line: str) -> list[str]:
    """The names of the columns; StageError where none is the loss."""
    names = [text.strip() for text in next(csv.reader([line]), [])]
    if "loss" in names:
        return [COLUMNS.get(text, text) for text in names]
    other = next((mark for mark in (";", "\t", "|") if mark in line), None)
    says = f"separates columns by {other!r}" if other else "has no column loss"
    raise StageError(f"{name} {says}", hint=f"{HINT}: comma separated, with the columns epoch, loss, accuracy, val_loss ...")


def cut(stage: Stage, name: str, columns: int, lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The cells of every line with its number; a last line that was not written to its end is left out."""
    reader = csv.reader(lines)
    next(reader)
    for cells in reader:
        number, told = reader.line_num, [COLUMNS.get(text.strip(), text.strip()) for text in cells]
        if not any(told):
            continue
        if len(told) == columns:
            yield number, told
        elif number == len(lines):
            stage.notice(f"the last line of {name} is cut off: left out")
        else:
            raise StageError(f"{name}:{number} has {len(told)} columns, its first line {columns}", hint=HINT)


def numbers(where: str, row: Mapping[str, str]) -> Row:
    """The numbers of a row that rules look at; a metric of the program's own may be anything."""
    told = {name: row[name] for name in READ if row.get(name, "") not in NOTHING}
    try:
        return {name: float(value) for name, value in told.items()}
    except ValueError as e:
        raise StageError(f"{where}: {e}", hint=HINT) from None
