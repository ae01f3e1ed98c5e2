"""The report of several runs: which run a branch is of, which images it was judged on, what differs but the backend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kpipe.stage import Branch
from stages.reporting import backends, provenance, summary, tested
from stages.reporting.paired import compare
from stages.reporting.results import Result, read_results
from stages.reporting.trainings import alone
from stages.reporting.verdict import judge
from tests.stages.fake_artifacts import Data, Run, branches
from tests.stages.test_report import Page, reported, words

FIRST, LAST = "20260101T233000-111111", "20260102T233000-222222"
MODELS = ("resnet50", "vgg16")


def run_of(folder: Path, name: str, data: Data | None = None, *, axis: bool = True, **of: Any) -> list[Branch]:
    """Both networks in one past run."""
    made = branches(folder / name, [Run({"model": model}, model=model, **of) for model in MODELS], data)
    extra = {"run": name.partition("-")[0]} if axis else {}
    return [replace(branch, axes={**branch.axes, **extra}, runs=(name,)) for branch in made]


def results(gathered: Sequence[Branch]) -> list[Result]:
    return read_results(gathered)[0]


def edit_manifest(branch: Branch, **columns: Any) -> None:
    file = branch.inputs["ingest"] / "manifest.csv"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table.assign(**{name: change(table) for name, change in columns.items()}).to_csv(file, index=False)


@pytest.mark.slow
def test_page_tells_the_runs_and_their_branches(tmp_path: Path) -> None:
    gathered = [*run_of(tmp_path, FIRST), *run_of(tmp_path, LAST, accuracy=0.9)]
    gathered[0] = replace(gathered[0], runs=(FIRST, LAST))
    del gathered[2]
    text = words(reported(tmp_path, gathered))
    assert "3 branches of 2 runs compared on 100 test images" in text
    assert f"Of run {FIRST} branches 1 and 2, run {LAST} branches 1 and 3." in text
    assert "Not in this report" not in text  # that a run lacks what another has is no gap


@pytest.mark.slow
def test_a_branch_of_an_earlier_version_is_named_and_not_shown(tmp_path: Path) -> None:
    gathered = [*run_of(tmp_path, FIRST), *run_of(tmp_path, LAST, accuracy=0.9)]
    file = gathered[0].inputs["evaluate"] / "metrics.json"
    told = json.loads(file.read_text())
    del told["format"], told["majority_class"]
    file.write_text(json.dumps(told))
    text = words(reported(tmp_path, gathered))
    assert "3 branches of 2 runs compared on 100 test images" in text
    assert "resnet50,20260101T233000: evaluated by another version of its code: run it again" in text


@pytest.mark.slow
def test_a_report_of_one_run_names_what_is_missing_in_it(tmp_path: Path) -> None:
    axes = [{"model": "resnet50", "seed": 1}, {"model": "resnet50", "seed": 2}, {"model": "vgg16", "seed": 1}]
    gathered = [replace(b, runs=(FIRST,)) for b in branches(tmp_path / "run", [Run(a, model=str(a["model"])) for a in axes])]
    assert "vgg16,2: excluded, or not in this run" in words(reported(tmp_path, gathered))


@pytest.mark.slow
def test_a_runs_own_report_says_nothing_of_runs(tmp_path: Path) -> None:
    [branch] = branches(tmp_path / "run", [Run({"model": "resnet50"})])
    text = words(reported(tmp_path, [branch]))
    assert "1 branch compared on 100 test images" in text and "Of run" not in text and "Not all branches" not in text


@pytest.mark.slow
def test_branches_of_other_test_images_are_not_compared_and_the_page_says_so(tmp_path: Path) -> None:
    first, last = run_of(tmp_path, FIRST)[:1], run_of(tmp_path, LAST, accuracy=0.9)[1:]
    edit_manifest(last[0], hash=lambda table: "f" + table["hash"].str[1:])  # the same names, other pictures
    assert compare(*alone(results([*first, *last]))) is None
    out = reported(tmp_path, [*first, *last])
    text = words(out)
    assert "is best on validation; the branches share no test images to be compared on." in text
    assert "2 branches of 2 runs compared on different test images" in text
    assert "Not all branches have the same test images: branch 1 has 100 and branch 2 has 100; none is common to all." in text
    assert "Not all branches have the same validation images" in text
    assert Page((out / "report.html").read_text()).open == []


@pytest.mark.slow
def test_branches_that_share_some_test_images_are_compared_on_these(tmp_path: Path) -> None:
    first, last = run_of(tmp_path, FIRST)[:1], run_of(tmp_path, LAST, Data(test=60), accuracy=0.8)[1:]
    edit_manifest(last[0], path=lambda table: table["path"].where(table.index % 2 == 0, "x" + table["path"]))
    predictions = last[0].inputs["evaluate"] / "predictions.csv"
    table = pd.read_csv(predictions, dtype=str, keep_default_na=False)
    table["path"] = table["path"].where(table["row"].astype(int) % 2 == 0, "x" + table["path"])
    table.to_csv(predictions, index=False)
    one, other = results([*first, *last])
    shared = one.test.join(other.test, how="inner", lsuffix="_a", rsuffix="_b")
    found = compare(*alone([one, other]))
    assert found is not None and found.images == len(shared) == 30
    assert found.only_first == int((shared["correct_a"] & ~shared["correct_b"]).sum())
    text = words(reported(tmp_path, [*first, *last]))
    assert "branch 1 has 100 and branch 2 has 60; 30 are common to all." in text
    assert "Told on 100 and 60 test images that had no part in any choice" in text
    assert "On the same 30 test images" in text
    assert (
        "Not all branches have the same validation images: branch 1 has 100 and branch 2 has 100; 30 are common to all." in text
    )


def test_many_sets_of_images_are_counted(tmp_path: Path) -> None:
    gathered = [run_of(tmp_path, f"{n}-x", Data(test=90 + n))[0] for n in range(5)]
    said = tested.sentences(alone(results(gathered)), str)
    assert said[0].startswith("Not all branches have the same test images: there are 5 different sets; 90 are common to all. ")


def test_equal_images_of_two_runs_are_the_same_images(tmp_path: Path) -> None:
    both = results([*run_of(tmp_path, FIRST)[:1], *run_of(tmp_path, LAST, accuracy=0.7)[1:]])
    assert tested.sentences(alone(both), str) == [] and tested.number(both) == "100 test images"
    found = compare(*alone(both))
    assert found is not None and found.images == 100
    assert summary.images(alone(both), "test") == "100 test images"
    assert judge(both).outcome in ("wins", "tie")


@pytest.mark.slow
def test_classes_of_two_runs_may_differ(tmp_path: Path) -> None:
    first, last = run_of(tmp_path, FIRST, Data(classes=("a", "b")))[:1], run_of(tmp_path, LAST, Data(classes=("b", "c")))[1:]
    page = Page((reported(tmp_path, [*first, *last]) / "report.html").read_text())
    assert page.open == [] and "nan" not in page.text.split()


def test_runs_that_differ_in_nothing_but_the_backend_are_set_side_by_side(tmp_path: Path) -> None:
    gathered = [
        *run_of(tmp_path, FIRST, axis=False),
        *run_of(tmp_path, LAST, backend="jax", axis=False),
        *run_of(tmp_path, "20260103T233000-333333", backend="jax", epochs=4),
    ]
    groups = backends.by_backend(results(gathered))
    assert [[result.number for result in group] for group in groups] == [[1, 3], [2, 4]]
    gathered[0].records["train"]["key"]["code"] = "another closure"
    assert [[result.number for result in group] for group in backends.by_backend(results(gathered))] == [[2, 4]]


def test_order_of_a_records_fields_does_not_count(tmp_path: Path) -> None:
    one, other = run_of(tmp_path, FIRST)[0], run_of(tmp_path, LAST, backend="jax")[0]
    sorted_ = {need: json.loads(json.dumps(record, sort_keys=True)) for need, record in one.records.items()}
    assert sorted_["train"]["key"] == one.records["train"]["key"]
    for need, record in other.records.items():
        record["key"] = dict(reversed(record["key"].items()))
        record["key"]["params"] = dict(reversed(record["key"]["params"].items()))
        assert need in sorted_
    assert len(backends.by_backend(results([replace(one, records=sorted_), other]))) == 1


@pytest.mark.parametrize("records", [True, False])
def test_one_backend_is_no_comparison_of_backends(tmp_path: Path, records: bool) -> None:
    gathered = [*run_of(tmp_path, FIRST), *run_of(tmp_path, LAST)]
    if not records:
        gathered = [replace(branch, records={}) for branch in gathered]
    assert backends.by_backend(results(gathered)) == []


def test_runs_of_branches(tmp_path: Path) -> None:
    gathered = [*run_of(tmp_path, FIRST), *run_of(tmp_path, LAST)]
    assert provenance.runs(results(gathered)) == {FIRST: [1, 2], LAST: [3, 4]}
