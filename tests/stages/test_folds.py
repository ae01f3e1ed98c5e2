"""Cross-validation: a fold is a parameter of train, and evaluate follows it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from kpipe.stage import StageError
from stages import evaluate, train
from stages.data import manifest
from stages.data.assignment import fold
from tests.stages import tiny

FOLDS = 3


@pytest.fixture
def run(tmp_path: Path) -> tiny.Run:
    found = tiny.start(tmp_path)
    path = found.inputs["ingest"] / "manifest.csv"
    manifest.write(path, fold(manifest.read(path), FOLDS, 0, "exact"))
    return found


def predicted(artifact: Path) -> dict[str, set[int]]:
    """split -> rows that evaluate predicted."""
    with (artifact / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {split: {int(row["row"]) for row in rows if row["split"] == split} for split in ("validation", "test")}


def stored(run: tiny.Run) -> list[Path]:
    return sorted(path for path in (run.folder / "store").rglob("*.npy"))


@pytest.mark.slow
def test_every_fold_validates_once_and_computes_no_activation_again(run: tiny.Run) -> None:
    items = manifest.read(run.inputs["ingest"] / "manifest.csv")
    seen: list[dict[str, set[int]]] = []
    activations: list[list[Path]] = []
    for number in range(FOLDS):
        run.run("train", train.run, epochs=1, fold=number)
        activations.append(stored(run))
        assert json.loads((run.inputs["train"] / "training.json").read_text())["fold"] == number
        seen.append(predicted(run.run("evaluate", evaluate.run)))
        assert seen[-1]["validation"] == {item.row for item in items if item.fold == number}
    assert activations[0] and activations == [activations[0]] * FOLDS
    assert set.union(*(rows["validation"] for rows in seen)) == {item.row for item in items if item.split != "test"}
    assert all(rows["test"] == {item.row for item in items if item.split == "test"} for rows in seen)


@pytest.mark.slow
def test_without_a_fold_the_splits_are_those_of_the_manifest(run: tiny.Run) -> None:
    run.run("train", train.run, epochs=1)
    items = manifest.read(run.inputs["ingest"] / "manifest.csv")
    rows = predicted(run.run("evaluate", evaluate.run))
    assert rows["validation"] == {item.row for item in items if item.split == "validation"}


@pytest.mark.slow
def test_a_fold_that_there_is_not_is_refused(run: tiny.Run) -> None:
    with pytest.raises(StageError, match="fold = 3: there are 3"):
        run.run("train", train.run, epochs=1, fold=3)
