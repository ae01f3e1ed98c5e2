"""kpipe report: the branches of several runs, out of the store, in one report."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from kpipe.branches import merged, short_ids, told_apart
from kpipe.stage import Branch
from tests.engine.conftest import Toy
from tests.engine.test_history import date, run_until_started
from tests.engine.test_running import wait_for

EPOCHS = "stages.fit.params.epochs"
REPORT = """
import json
from kpipe.stage import Stage

def run(stage: Stage, *, title: str = "Toy") -> None:
    lines = [b.label + ": " + (b.inputs["fit"] / "fit.txt").read_text() for b in stage.branches if "fit" in b.inputs]
    (stage.out / "report.html").write_text("\\n".join([title, *lines]))
    (stage.out / "report.csv").write_text(json.dumps([
        {"axes": b.axes, "inputs": {n: str(p) for n, p in b.inputs.items()}, "records": b.records, "runs": b.runs}
        for b in stage.branches
    ]))
    (stage.out / "figures").mkdir()
    for branch in stage.branches:
        (stage.out / "figures" / f"{branch.label}.svg").write_text("<svg/>")
"""
WITH_KERAS = """
    (stage.out / "backend.txt").write_text(os.environ["KERAS_BACKEND"])

def on_a_backend() -> None:
    import keras
"""
SAME_WEIGHTS = """
import os
from kpipe.stage import Stage

def run(stage: Stage) -> None:
    for number, branch in enumerate(stage.branches):
        if branch.axes["model"] != "b":
            (stage.out / str(number)).mkdir()
            text = (branch.inputs["fit"] / "fit.txt").read_text()
            (stage.out / str(number) / "said.txt").write_text(f"{text} on {os.environ['KERAS_BACKEND']}")
        stage.progress(number + 1, len(stage.branches))

def on_a_backend() -> None:
    import keras
"""


@pytest.fixture
def toy(toy: Toy) -> Toy:
    toy.write("stages/report.py", REPORT)
    toy.environment["TZ"] = "TEST-9"
    return toy


def reported(toy: Toy, *args: str) -> str:
    """The page of a report of runs."""
    done = toy.kpipe("report", *args)
    assert done.code == 0, done.err
    return (toy.root / done.out.splitlines()[-1]).read_text()


def branches(toy: Toy, *args: str) -> list[dict[str, Any]]:
    """What the report stage saw."""
    done = toy.kpipe("report", *args)
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads((toy.root / done.out.splitlines()[-1]).with_suffix(".csv").read_text())
    return found


def on_keras(toy: Toy) -> None:
    """Let fit depend on the backend, as a stage that imports keras does."""
    toy.write("stages/fit.py", (toy.root / "stages/fit.py").read_text().replace('"""Fits."""', "import os") + WITH_KERAS)


# what is compared


def test_runs_of_other_settings_are_told_apart_by_an_axis_run(toy: Toy) -> None:
    toy.run()
    toy.run("--set", f"{EPOCHS}=9")
    first, last = date(toy)
    page = reported(toy, "last~1", last)
    assert page.splitlines() == [
        "Toy",
        "a,20260101T233000: 10.0 after 8",
        "b,20260101T233000: 40.0 after 8",
        "a,20260102T233000: 10.0 after 9",
        "b,20260102T233000: 40.0 after 9",
    ]
    assert [branch["runs"] for branch in branches(toy, first, last)] == [[first], [first], [last], [last]]


def test_report_of_runs_lies_beside_a_runs_own_with_table_and_figures(toy: Toy) -> None:
    toy.run()
    toy.run("--set", f"{EPOCHS}=9")
    date(toy)
    own = toy.report
    done = toy.kpipe("report", "last", "last~1")
    assert done.out == "reports/toy-20260102T233000+20260101T233000.html\n"
    below = sorted(str(p.relative_to(toy.root / "reports")) for p in (toy.root / "reports").rglob("*") if p.is_file())
    base = "toy-20260102T233000+20260101T233000"
    figures = [f"{base}/figures/{m},2026010{day}T233000.svg" for m in "ab" for day in (1, 2)]
    assert below == sorted([f"{base}.csv", f"{base}.html", *figures, "toy-tensorflow.csv", "toy-tensorflow.html",
                            "toy-tensorflow/figures/a.svg", "toy-tensorflow/figures/b.svg"])  # fmt: skip
    assert toy.report == own


def test_a_branch_that_is_the_same_in_both_runs_is_shown_once_and_this_is_said(toy: Toy) -> None:
    toy.run()
    toy.edit("pipeline.toml", '{ name = "b", rate = 2 }', '{ name = "b", rate = 3 }, { name = "c", rate = 4 }')
    toy.run()
    first, last = date(toy)
    done = toy.kpipe("report", first, last, "--json")
    both = "20260101T233000+20260102T233000"
    assert done.err == f"notice: a,{both}: the very same in the runs {first}, {last}, shown once\n"
    told = [(branch["branch"], branch["runs"]) for branch in done.json["branches"]]
    assert told == [
        (f"a,{both}", [first, last]),
        ("b,20260101T233000", [first]),
        ("b,20260102T233000", [last]),
        ("c,20260102T233000", [last]),
    ]
    assert done.json["runs"] == [first, last]
    assert done.json["reports"] == [str(toy.root / "reports" / f"toy-{both}.html")]


def test_equal_runs_are_one(toy: Toy) -> None:
    toy.run()
    toy.run()
    assert reported(toy, "last", "last~1").splitlines() == ["Toy", "a: 10.0 after 8", "b: 40.0 after 8"]


def test_runs_whose_branches_differ_need_no_axis(toy: Toy) -> None:
    toy.run("--set", 'matrix.model=[{name="a", rate=0.5}]')
    toy.run("--set", 'matrix.model=[{name="b", rate=2}]', "--set", "matrix.seed=[1, 2]", "--set", f"{EPOCHS}=${{seed}}")
    assert reported(toy, "last", "last~1").splitlines() == ["Toy", "b,1: 40.0 after 1", "b,2: 40.0 after 2", "a: 10.0 after 8"]


@pytest.mark.slow
def test_runs_on_two_backends_get_an_axis_backend(toy: Toy) -> None:
    on_keras(toy)
    toy.run()
    toy.environment["KERAS_BACKEND"] = "jax"
    toy.run()
    del toy.environment["KERAS_BACKEND"]
    assert [branch["axes"] for branch in branches(toy, "last~1", "last")] == [
        {"model": model, "backend": backend} for backend in ("tensorflow", "jax") for model in ("a", "b")
    ]
    toy.run("--set", f"{EPOCHS}=9", "--set", 'matrix.backend=["jax", "tensorflow"]')
    date(toy)
    told = [tuple(branch["axes"].values()) for branch in branches(toy, "last", "last~1")]
    assert told == [
        *((m, b, "20260103T233000") for m in "ab" for b in ("jax", "tensorflow")),
        *((m, "jax", "20260102T233000") for m in "ab"),
    ]


def test_stages_without_keras_make_runs_on_two_backends_the_same(toy: Toy) -> None:
    toy.run()
    toy.environment["KERAS_BACKEND"] = "jax"
    toy.run()
    done = toy.kpipe("report", "last", "last~1")
    assert done.err.count("the very same") == 2
    assert reported(toy, "last", "last~1").splitlines() == ["Toy", "a: 10.0 after 8", "b: 40.0 after 8"]


def test_one_run_can_be_reported_again_and_a_run_named_twice_counts_once(toy: Toy) -> None:
    toy.run()
    [run] = date(toy)
    done = toy.kpipe("report", "last", run[:8])
    assert done.out == "reports/toy-20260101T233000.html\n"
    assert done.err == f"notice: 20260101 is run {run}, which is named already\n"
    assert (toy.root / "reports" / "toy-20260101T233000.html").read_text() == toy.report


def test_a_branch_that_failed_in_one_run_is_there_without_its_artifact(toy: Toy) -> None:
    toy.run()
    toy.edit("stages/fit.py", "    stage.measure", "    assert rate < 1\n    stage.measure")
    toy.kpipe("run", "--keep-going")
    date(toy)
    told = [(branch["axes"]["run"], sorted(branch["inputs"])) for branch in branches(toy, "last", "last~1")]
    assert told == [("20260102T233000", ["fit", "load"]), ("20260102T233000", ["load"]),
                    ("20260101T233000", ["fit", "load"]), ("20260101T233000", ["fit", "load"])]  # fmt: skip


def test_report_stage_is_called_with_its_parameters_as_the_file_has_them_now(toy: Toy) -> None:
    toy.run()
    toy.edit("stages/report.py", 'title: str = "Toy"', 'title: str = "Toy", note: File')
    toy.edit("stages/report.py", "import Stage", "import File, Stage")
    toy.edit("stages/report.py", "[title, ", "[title, note.read_text(), ")
    toy.edit("pipeline.toml", "gather = true", 'gather = true\n[stages.report.params]\ntitle = "New"\nnote = "data/1.txt"')
    assert reported(toy, "last").splitlines()[:2] == ["New", "one"]


def test_history_and_explanations_of_runs_stay_as_they_were(toy: Toy) -> None:
    toy.run()
    lines = (toy.root / ".kpipe" / "runs.jsonl").read_text()
    toy.kpipe("report", "last")
    assert (toy.root / ".kpipe" / "runs.jsonl").read_text() == lines
    assert toy.ran() == set()
    assert list((toy.root / ".kpipe" / "staging").iterdir()) == []


# how the artifacts came to be


def test_every_artifact_comes_with_its_record(toy: Toy) -> None:
    toy.edit("pipeline.toml", "[stages.load]", "seed = [1, 2]\nalso = [2, 1]\n\n[stages.load]")
    toy.edit("pipeline.toml", "epochs = 8", 'epochs = "${seed}"')
    toy.edit("pipeline.toml", 'source = "data"', 'source = "data"\nnumber = "${also}"')
    toy.edit("stages/load.py", "source: Folder", "source: Folder, number: int")
    toy.run()
    found = branches(toy, "last")
    assert len(found) == 8
    for branch in found:
        model, seed, also = branch["axes"].values()
        fit, load = branch["records"]["fit"], branch["records"]["load"]
        assert load["key"]["params"]["number"] == also  # what both of them gave is the same
        assert fit["key"]["params"] == {"rate": {"a": 0.5, "b": 2}[model], "epochs": seed}
        assert fit["measures"] == {"speed": {"a": 0.5, "b": 2}[model]}
        assert {need: Path(path).name for need, path in branch["inputs"].items()} == {
            need: branch["records"][need]["output_digest"] for need in ("fit", "load")
        }


def test_an_artifact_that_was_made_anew_is_reported_without_its_record_and_this_is_said(toy: Toy) -> None:
    toy.edit(
        "stages/fit.py",
        "    words =",
        "    (stage.out / 'n').write_text(str(len(list(stage.inputs['load'].parents[1].glob('seen*')))))\n    words =",
    )
    toy.run()
    (toy.root / ".kpipe" / "seen").touch()
    toy.run("--force", "fit[a]")
    date(toy)
    done = toy.kpipe("report", "last~1", "last")
    assert "notice: a,20260101T233000: nothing tells any more how its fit came to be\n" in done.err
    without, with_record = (branch["records"].keys() for branch in branches(toy, "last~1", "last")[::2])
    assert (set(without), set(with_record)) == ({"load"}, {"fit", "load"})


# what is not there


def test_unknown_runs_are_named_all_at_once(toy: Toy) -> None:
    toy.run("--until", "load")
    [run] = date(toy)
    said = f"no such run among the 1 of this pipeline\n  hint: kpipe runs lists them: {run}\n"
    done = toy.kpipe("report", "nothing", "last~3")
    assert (done.code, done.out) == (2, "")
    assert done.err == f"error: nothing: {said}error: last~3: {said}2 errors; nothing was run\n"


def test_runs_that_did_not_come_to_their_report_say_why_and_what_to_do(toy: Toy) -> None:
    toy.run("--until", "fit", "--set", f"{EPOCHS}=9")
    run_until_started(toy, signal.SIGINT)
    toy.edit("stages/helper.py", "time.sleep(60)", "assert x < 1")
    toy.kpipe("run", "--set", f"{EPOCHS}=10")
    toy.edit("stages/helper.py", "assert x < 1", "pass")
    toy.run()
    unasked, stopped, failed, _ = date(toy)
    toy.environment["KERAS_BACKEND"] = ""
    done = toy.kpipe("report", "last~3", "last~2", "last~1", "last")
    then = "makes it, with the pipeline file of then; name the new run instead"
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"error: run {unasked} has no finished report (it was not asked for)\n"
        f"  hint: KERAS_BACKEND=tensorflow kpipe run --set {EPOCHS}=9 {then}\n"
        f"error: run {stopped} has no finished report (it was interrupted)\n"
        f"  hint: KERAS_BACKEND=tensorflow kpipe run {then}\n"
        f"error: run {failed} has no finished report (failed: fit[a])\n"
        f"  hint: KERAS_BACKEND=tensorflow kpipe run --set {EPOCHS}=10 {then}\n"
        "3 errors; nothing was run\n"
    )


def test_artifacts_that_are_gone_or_damaged_are_named(toy: Toy) -> None:
    toy.run()
    [run] = date(toy)
    fits = {path.read_text(): path for path in (toy.root / ".kpipe" / "objects").glob("*/fit.txt")}
    shutil.rmtree(fits["10.0 after 8"].parent)
    fits["40.0 after 8"].chmod(0o644)
    fits["40.0 after 8"].write_text("41.0 after 8")
    done = toy.kpipe("report", "last")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"error: run {run}: the store no longer has what it made (fit of a: it is missing, "
        "fit of b: fit.txt has other content than was stored)\n"
        "  hint: KERAS_BACKEND=tensorflow kpipe run makes it, with the pipeline file of then; name the new run instead\n"
    )
    toy.run()
    assert "b: 40.0 after 8" in reported(toy, run)


def test_a_run_that_gc_took_is_an_error_that_names_the_way_back(toy: Toy) -> None:
    toy.run("--set", f"{EPOCHS}=9")
    toy.run()
    first, _ = date(toy)
    toy.kpipe("gc", "--keep-runs", "1", "--delete")
    done = toy.kpipe("report", "last", "last~1")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(
        f"error: run {first}: the store no longer has its report\n  hint: KERAS_BACKEND=tensorflow kpipe run"
    )
    toy.run("--set", f"{EPOCHS}=9")
    assert "a,20260102T233000: 10.0 after 8" in reported(toy, "last", "last~1")


def test_gc_takes_nothing_that_a_report_reads(toy: Toy) -> None:
    toy.run()
    waits = f"    import time; open({str(toy.root / 'began')!r}, 'w').close()\n    while not __import__('os').path.exists({str(toy.root / 'go')!r}): time.sleep(0.02)\n"
    toy.edit("stages/report.py", "    lines =", f"{waits}    lines =")
    toy.edit("stages/report.py", "__import__('os').path", "os.path")
    toy.edit("stages/report.py", "import json", "import json, os")
    process = toy.start("report", "last")
    wait_for(toy.root / "began")
    kept = toy.root / ".kpipe" / "runs.jsonl"
    kept.unlink()  # nothing is needed any more, as far as the history knows
    assert toy.kpipe("gc", "--delete").code == 0
    (toy.root / "go").touch()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert (toy.root / out.strip()).read_text() == "Toy\na: 10.0 after 8\nb: 40.0 after 8"
    assert toy.kpipe("gc", "--delete").code == 0
    assert list((toy.root / ".kpipe" / "objects").iterdir()) == []


def test_a_report_stage_that_fails_is_told_as_in_a_run(toy: Toy) -> None:
    toy.run()
    toy.edit("stages/report.py", "    lines =", "    assert not stage.branches\n    lines =")
    done = toy.kpipe("report", "last")
    assert (done.code, done.out) == (1, "")
    hint = "what a run of older code made may lack what this report reads; kpipe run makes it anew"
    assert f"error: stages.report: AssertionError: \n  hint: {hint}\n  log: .kpipe/logs/" in done.err
    assert "kpipe/worker.py" not in done.err


# where it goes


def test_out_names_the_page_and_nothing_foreign_is_overwritten(toy: Toy) -> None:
    toy.run()
    done = toy.kpipe("report", "last", "--out", "shown/one.html")
    assert (done.code, done.out) == (0, "shown/one.html\n")
    assert sorted(p.name for p in (toy.root / "shown").iterdir()) == ["one", "one.csv", "one.html"]
    assert toy.kpipe("report", "last", "--out", "shown/one.html").code == 0
    done = toy.kpipe("report", "last", "--out", "data.html")
    assert (done.code, done.out) == (2, "")
    assert (
        done.err == "error: --out data.html: the report would write into data, which belongs to no report\n  hint: another name\n"
    )
    toy.write("table.csv", "path,label\n")
    assert toy.kpipe("report", "last", "--out", "table.html").code == 2
    assert (toy.root / "table.csv").read_text() == "path,label\n"


def test_out_removes_nothing_that_was_there(toy: Toy) -> None:
    toy.run()
    toy.write("data.html", "a page of my own")
    assert toy.kpipe("report", "last", "--out", "data.html").code == 0
    assert (toy.root / "data" / "1.txt").read_text() == "one"


def test_a_report_made_again_loses_the_figures_it_no_longer_has(toy: Toy) -> None:
    toy.run()
    date(toy)
    reported(toy, "last")
    figures = toy.root / "reports" / "toy-20260101T233000" / "figures"
    (figures / "old.svg").touch()
    reported(toy, "last")
    assert sorted(p.name for p in figures.iterdir()) == ["a.svg", "b.svg"]


@pytest.mark.slow
def test_many_runs_have_a_short_name_that_is_still_their_own(toy: Toy) -> None:
    for epochs in range(1, 6):
        toy.run("--set", f"{EPOCHS}={epochs}")
    date(toy)
    names = {
        toy.kpipe("report", "last", "last~1", "last~2", *more).out for more in (["last~3"], ["last~4"], ["last~3", "last~4"])
    }
    assert len(names) == 3
    start = "reports/toy-20260105T233000+20260104T233000+20260103T233000+"
    assert sorted(name.removeprefix(start)[:7] for name in names) == ["1-more-", "1-more-", "2-more-"]


# the same weights


def test_saved_models_predict_on_both_backends_and_the_report_gets_what_they_said(toy: Toy) -> None:
    toy.write("stages/tools/same_weights.py", SAME_WEIGHTS)
    toy.run()
    done = toy.kpipe("report", "last", "--same-weights")
    assert done.code == 0, done.err
    assert done.err.splitlines() == [
        f"saved models on {backend}: {number} of 2" for backend in ("tensorflow", "jax") for number in (1, 2)
    ]
    toy.edit("stages/report.py", '[b.label + ": " + (b.inputs["fit"] / "fit.txt")', '[(b.inputs["model on " + x] / "said.txt")')
    toy.edit("stages/report.py", 'if "fit" in b.inputs', 'for x in ("tensorflow", "jax") if "model on " + x in b.inputs')
    assert reported(toy, "last", "--same-weights").splitlines() == ["Toy", "10.0 after 8 on tensorflow", "10.0 after 8 on jax"]
    assert reported(toy, "last") == "Toy"


def test_a_project_without_the_tool_says_so(toy: Toy) -> None:
    toy.run()
    done = toy.kpipe("report", "last", "--same-weights")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: this project has no stages.tools.same_weights\n")


# the parts


def branch(run: str, model: str, key: str = "k", **inputs: str) -> Branch:
    records = {need: {"key_digest": key} for need in inputs}
    return Branch({"model": model}, {need: Path(path) for need, path in inputs.items()}, records, (run,))


def test_what_was_made_twice_is_shown_twice() -> None:
    found = merged([branch("r", "a", x="1"), branch("s", "a", "other", x="1"), branch("t", "a", x="1")])
    assert [b.runs for b in found] == [("r", "t"), ("s",)]


def test_only_whole_branches_of_different_runs_are_the_same() -> None:
    whole = {"x": "1", "y": "2"}
    found = merged([
        branch("r", "a", **whole), branch("r", "b", **whole), branch("r", "c", x="1"), branch("r", "d"),
        branch("s", "b", **whole), branch("s", "d", x="1"), branch("s", "c", x="1"), branch("s", "e"),
    ])  # fmt: skip
    assert [(b.label, b.runs) for b in found] == [
        ("a", ("r", "s")), ("b", ("r",)), ("c", ("r", "s")), ("d", ("r",)), ("d", ("s",)), ("e", ("s",)),
    ]  # fmt: skip


def test_an_axis_run_of_the_pipeline_stays() -> None:
    runs = [{"run": name, "backends": ["jax"]} for name in ("20260101T000000-a", "20260101T000000-b")]
    found = told_apart([Branch({"run": 1}, {"x": Path(run["run"])}, {}, (run["run"],)) for run in runs], runs)
    assert [b.axes for b in found] == [{"run": 1, "run_id": run["run"]} for run in runs]


def test_runs_of_one_second_keep_their_whole_ids() -> None:
    assert short_ids(["1-a", "2-b", "1-c"]) == {"1-a": "1-a", "2-b": "2", "1-c": "1-c"}
