"""One saved model on both backends: what is predicted, what is kept, and what the report tells of the differences."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import ArrayLike

from kpipe.stage import Branch, Stage
from stages import json_files
from stages.network import keras_files
from stages.reporting import same_weights
from stages.reporting.results import read_results
from stages.reporting.wording import tiny
from stages.tools import same_weights as tool
from tests.stages.fake_artifacts import Data, Run, branches
from tests.stages.test_predict import CLASSES, network
from tests.stages.test_report import Page, reported

THREE = Data(classes=("a", "b", "c"), test=4)


@pytest.fixture
def trained(tmp_path: Path) -> list[Branch]:
    """Three branches on 20 test images; the second has no network, the third that of the first."""
    runs = [Run({"n": n}) for n in range(3)]
    gathered = branches(tmp_path / "run", runs, Data(classes=CLASSES, train=30, validation=10, test=20))
    models = [branch.inputs["train"] / "model.keras" for branch in gathered]
    keras_files.write(network(2.0), models[0])
    for model in models[1:]:
        shutil.copy(models[0], model)
    lacking = {need: path for need, path in gathered[1].inputs.items() if need != "train"}
    return [gathered[0], replace(gathered[1], inputs=lacking), gathered[2]]


def predicted(folder: Path, gathered: list[Branch], store: Path) -> Path:
    tool.run(Stage(out=folder, branches=gathered, store=store))
    return folder


@pytest.mark.slow
def test_tool_predicts_what_plain_keras_does_on_the_test_images(tmp_path: Path, trained: list[Branch]) -> None:
    out = predicted(tmp_path / "out", trained, tmp_path / "store")
    assert sorted(path.name for path in out.iterdir()) == ["0", "2"]
    with (trained[0].inputs["ingest"] / "manifest.csv").open() as file:
        rows = [int(row["row"]) for row in csv.DictReader(file) if row["split"] == "test"]
    images = np.load(trained[0].inputs["ingest"] / "images.npy")
    plain = keras.models.load_model(trained[0].inputs["train"] / "model.keras", compile=False).predict(images[rows], verbose=0)
    for name in "02":
        found = np.load(out / name / "predictions.npz")
        assert found["rows"].tolist() == rows
        assert found["probabilities"].dtype == np.float32
        assert found["probabilities"] == pytest.approx(plain, abs=1e-6)
        assert json_files.read(out / name / "about.json")["images"] == 20


@pytest.mark.slow
def test_what_is_known_of_a_model_is_not_computed_again(
    tmp_path: Path, trained: list[Branch], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    real = keras_files.read

    def counted(path: Path) -> keras.Model:
        read.append(path)
        return real(path)

    monkeypatch.setattr(keras_files, "read", counted)
    first = predicted(tmp_path / "first", trained, tmp_path / "store")
    again = predicted(tmp_path / "again", trained, tmp_path / "store")
    model = trained[0].inputs["train"] / "model.keras"
    assert read == [model]  # the third branch has the same bytes
    assert (first / "0" / "predictions.npz").read_bytes() == (again / "2" / "predictions.npz").read_bytes()
    keras_files.write(network(3.0), model)
    predicted(tmp_path / "changed", trained, tmp_path / "store")
    images = trained[0].inputs["ingest"] / "images.npy"
    np.save(images, np.load(images)[::-1])
    predicted(tmp_path / "other", trained, tmp_path / "store")
    assert read[1:] == [model, model, trained[2].inputs["train"] / "model.keras"]


@pytest.mark.slow
def test_of_many_test_images_the_same_sample_is_taken_each_time(
    tmp_path: Path, trained: list[Branch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "MOST", 7)
    found = [predicted(tmp_path / f"out{n}", trained, tmp_path / f"store{n}") / "0" for n in range(2)]
    rows = [np.load(folder / "predictions.npz")["rows"].tolist() for folder in found]
    assert rows[0] == rows[1] == sorted(set(rows[0])) and len(rows[0]) == 7
    assert json_files.read(found[0] / "about.json")["images"] == 20


# what the report tells


def with_predictions(branch: Branch, folder: Path, first: ArrayLike, second: ArrayLike, of: int = 4) -> Branch:
    """A branch with what its model says of the first test images on each backend."""
    inputs = dict(branch.inputs)
    for backend, probabilities in (("tensorflow", first), ("jax", second)):
        place = folder / f"{branch.label}-{backend}"
        place.mkdir(parents=True)
        table = np.asarray(probabilities, np.float32)
        np.savez(place / "predictions.npz", rows=np.arange(len(table)), probabilities=table)
        json_files.write(place / "about.json", {"device": f"cpu of {backend}", "images": of})
        inputs[f"model on {backend}"] = place
    return replace(branch, inputs=inputs)


ONE = [[0.5, 0.25, 0.25], [0.125, 0.375, 0.5], [1.0, 0.0, 0.0], [0.25, 0.5, 0.25]]
OTHER = [[0.5, 0.25, 0.25], [0.125, 0.5, 0.375], [0.75, 0.25, 0.0], [0.25, 0.4375, 0.3125]]


@pytest.fixture
def pair(tmp_path: Path) -> list[Branch]:
    """Two branches: the backends differ in what they say of the first, and by a rounding only of the second."""
    first, second = branches(tmp_path / "run", [Run({"n": 1}), Run({"n": 2}, backend="jax")], THREE)
    nearly = np.float32(ONE) + np.float32([[0, 0, 0], [0, 0, 0], [0, 0, 0], [2.0**-24, 0, 0]])
    return [with_predictions(first, tmp_path, ONE, OTHER, of=90), with_predictions(second, tmp_path, ONE, nearly)]


def test_differences_are_those_of_a_hand_calculation(pair: list[Branch]) -> None:
    first, second = same_weights.agreements(read_results(pair)[0])
    assert (first.images, first.of, first.largest, first.renamed, first.equal) == (4, 90, 0.25, 1, False)
    assert first.mean == (2 * 0.125 + 2 * 0.25 + 2 * 0.0625) / 12
    assert (first.quantile(0.5), first.quantile(1)) == ((0.0625 + 0.125) / 2, 0.25)
    worst = [(image["path"], image["label"], image["difference"], image["says"]) for image in first.worst]
    assert worst == [
        ("c/00002.png", "c", 0.25, [("a", 1.0), ("a", 0.75)]),
        ("b/00001.png", "b", 0.125, [("c", 0.5), ("b", 0.5)]),
        ("a/00003.png", "a", 0.0625, [("b", 0.5), ("b", 0.4375)]),
        ("a/00000.png", "a", 0.0, [("a", 0.5), ("a", 0.5)]),
    ]
    assert (second.largest, second.renamed, second.equal) == (2.0**-24, 0, True)


def test_verdict_says_whether_it_is_more_than_rounding(tmp_path: Path, pair: list[Branch]) -> None:
    first, second = same_weights.agreements(read_results(pair)[0])
    assert same_weights.verdict([first, second]) == (
        "More than rounding: probabilities differ by more than 0.0001 in branch 1 (0.25)."
    )
    assert same_weights.verdict([second]) == (
        "But for rounding, both backends compute the same: no probability differs by more than 6.0e-8, "
        "and every image is given the same class."
    )
    on_gpu = replace(first, devices=("NVIDIA H100", "cpu (AVX2)"))
    assert same_weights.verdict([on_gpu]).endswith(f"in branch 1 (0.25). {same_weights.TF32}")
    tie = np.float32([[0.4, 0.4, 0.2]])
    turned = replace(second, first=tie, second=tie + np.float32([[0, 1e-7, 0]]))
    assert same_weights.verdict([turned]).endswith("and 1 near tie went the other way.")
    broken = replace(second, second=np.full_like(second.second, np.nan))
    assert not broken.equal and "in branch 2 (nan)" in same_weights.verdict([broken])


@pytest.mark.slow
def test_page_and_table_tell_it(tmp_path: Path, pair: list[Branch]) -> None:
    out = reported(tmp_path, pair)
    page = Page((out / "report.html").read_text())
    text = " ".join(page.text.split())
    assert page.open == []
    for words in (
        "The same weights on both backends", "More than rounding: probabilities differ by more than 0.0001 in branch 1 (0.25).",
        "TensorFlow 4 of 90, at random 0.25 more than rounding 0.25 0.094 0.073 1 cpu of tensorflow, cpu of jax",
        "JAX 4 6.0e-8 5.8e-8 0 5.0e-9 0 cpu of tensorflow, cpu of jax", "Images that differ most, branch 1",
        "c/00002.pngc0.25a 1.000000a 0.750000",
    ):  # fmt: skip
        assert words in text
    with (out / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = [[row[f"same_weights_{name}"] for name in ("images", "largest_difference", "named_differently")] for row in rows]
    assert told == [["4", "0.25", "1"], ["4", str(2.0**-24), "0"]]


def test_branches_that_were_not_asked_have_no_columns_and_no_section(tmp_path: Path, pair: list[Branch]) -> None:
    plain = branches(tmp_path / "plain", [Run({"n": 3})], THREE)
    out = reported(tmp_path / "without", plain)
    assert "same_weights" not in (out / "report.csv").read_text()
    assert 'id="backends"' not in (out / "report.html").read_text()
    [found] = same_weights.agreements(read_results([*plain, pair[0]])[0])
    assert found.result.number == 2


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (2.4e-7, "2.4e-7"), (9.96e-4, "1.0e-3"), (0.0123, "0.012"), (1.0, "1"), (1e-12, "1.0e-12")]
)
def test_next_to_nothing_has_two_digits(value: float, text: str) -> None:
    assert tiny(value) == text
