"""Histories as other programs write them: what is read, what is said, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpipe.stage import Stage, StageError
from stages.diagnosis import course

HEADER = "epoch,accuracy,loss,val_accuracy,val_loss\n"


def read(folder: Path, text: str) -> tuple[list[course.Row], list[str]]:
    path = folder / "history.csv"
    path.write_text(text)
    stage = Stage(out=folder / "out", store=folder / "store")
    return course.read(stage, path), stage.notices


def test_a_history_as_keras_writes_it(tmp_path: Path) -> None:
    text = '\ufeffepoch,binary_accuracy,loss,val_binary_accuracy,val_loss,f1\n0,0.5,0.7,NA,NA,"[0.1,\n 0.2]"\n'
    assert read(tmp_path, text) == ([{"epoch": 0, "accuracy": 0.5, "loss": 0.7}], [])
    assert read(tmp_path, " epoch , loss , acc \n0 , 0.7 , 0.5 \n")[0] == [{"epoch": 0, "loss": 0.7, "accuracy": 0.5}]


@pytest.mark.parametrize("header", ["", HEADER])
def test_of_trainings_one_after_the_other_the_last_one_is_judged(tmp_path: Path, header: str) -> None:
    """CSVLogger(append=True), with a header again or without."""
    broken = "0,0.3,1.2,0.3,1.1\n1,0.2,nan,0.2,nan\n2,0.2,nan,0.2,nan\n"
    rows, notices = read(tmp_path, HEADER + broken + header + "0,0.5,0.9,0.5,0.8\n1,0.6,0.8,0.6,0.7\n")
    assert [row["loss"] for row in rows] == [0.9, 0.8]
    assert notices == ["history.csv holds 2 trainings one after the other: the last one is judged"]


def test_a_last_line_that_is_cut_off_is_left_out_and_said(tmp_path: Path) -> None:
    rows, notices = read(tmp_path, HEADER + "0,0.5,0.9,0.5,0.8\n1,0.6,0.")
    assert len(rows) == 1 and notices == ["the last line of history.csv is cut off: left out"]


def test_an_accuracy_under_another_name_is_said(tmp_path: Path) -> None:
    _, [notice] = read(tmp_path, "epoch,loss,top1\n0,0.7,0.5\n")
    assert notice == "history.csv has no column accuracy (it has epoch, loss, top1): it is measured on the images that there are"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no column loss"),
        ("a,b\n1,2\n", "has no column loss"),
        ("epoch;loss\n0;0.5\n", "separates columns by ';'"),
        ("epoch\tloss\n0\t0.5\n", "separates columns by "),
        (HEADER, "has a header and no rows"),
        (HEADER + "0,0.5,0.9\n1,0.5,0.9,0.5,0.8\n", "history.csv:2 has 3 columns, its first line 5"),
        (HEADER + "0,0.5,many,0.5,0.8\n", "history.csv:2: could not convert string to float: 'many'"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(StageError) as caught:
        read(tmp_path, text)
    assert says in caught.value.message and "CSVLogger" in str(caught.value.hint)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_bytes(b"\xff\xfe\x00loss")
    with pytest.raises(StageError, match="history"):
        course.read(Stage(out=tmp_path / "out", store=tmp_path / "store"), tmp_path / "history.csv")
