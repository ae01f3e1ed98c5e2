"""kpipe runs and kpipe diff: what was run when, and how two runs differ."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from kpipe import history, metrics
from kpipe.store import Store
from tests.engine.conftest import Toy

FIT = """
import json
from pathlib import Path
from kpipe.stage import Stage, StageError
from stages.helper import scale

def run(stage: Stage, *, rate: float, epochs: int = 1, note: str = "") -> None:
    if epochs == 13:
        raise StageError("loss is not finite" + 1000 * "!")
    accuracy = 1 - scale(rate) / epochs / 100
    (stage.out / "fit.txt").write_text(str(accuracy))
    headline = {
        "accuracy": {"value": accuracy, "better": "higher"},
        "loss": {"value": 1 - accuracy, "better": "lower"},
        "steps": {"value": 100 * epochs},
    }
    told = {"headline": headline, "per_class": {"cat": {"f1": accuracy}, "dog": {"f1": 0.5}}, "interval": [0, accuracy], "ok": True}
    (stage.out / "metrics.json").write_text(json.dumps(told))
"""
EPOCHS = "stages.fit.params.epochs"
HEADLINE_OF_A = {
    "accuracy": {"value": 0.99375, "better": "higher"},
    "loss": {"value": pytest.approx(0.00625), "better": "lower"},
    "steps": {"value": 800, "better": None},
}


@pytest.fixture
def toy(toy: Toy) -> Toy:
    toy.write("stages/fit.py", FIT)
    toy.environment["TZ"] = "TEST-9"
    return toy


def lines(toy: Toy) -> Path:
    return toy.root / ".kpipe" / "runs.jsonl"


def date(toy: Toy) -> list[str]:
    """Give the runs fixed ids and times, as if there had been one a day, each of nearly five minutes; the ids, the first first."""
    runs = [json.loads(line) for line in lines(toy).read_text().splitlines()]
    for day, run in enumerate(runs, 1):
        run["run"] = f"202601{day:02d}T233000-{day * 0x111111:06x}"
        run["started"], run["ended"] = f"2026-01-{day:02d}T23:30:00+00:00", f"2026-01-{day:02d}T23:34:45+00:00"
    lines(toy).write_text("".join(json.dumps(run) + "\n" for run in runs))
    return [run["run"] for run in runs]


def ids(toy: Toy) -> list[str]:
    """Ids of the runs that kpipe tells, the last first."""
    return [run["run"] for run in toy.kpipe("runs", "--json", "--limit", "1000").json]


def objects_with_metrics(toy: Toy) -> list[Path]:
    return [path.parent for path in (toy.root / ".kpipe" / "objects").glob("*/metrics.json")]


# kpipe runs


@pytest.mark.slow
def test_runs_lists_the_last_first_with_what_ran_and_what_came_of_it(toy: Toy) -> None:
    toy.run("--until", "load")
    toy.run()
    toy.run()
    toy.run("--set", f"{EPOCHS}=9", "--set", 'stages.load.params.source="data"')
    toy.kpipe("run", "--set", f"{EPOCHS}=13", "--keep-going")
    date(toy)
    result = toy.kpipe("runs")
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        """\
run                     started           took        backend     what
20260105T233000-555555  2026-01-06 08:30  4 min 45 s  tensorflow  1 of 4 ran, 1 cached, 2 failed
    ran report  failed fit[a], fit[b]  --set stages.fit.params.epochs=13
20260104T233000-444444  2026-01-05 08:30  4 min 45 s  tensorflow  3 of 4 ran, 1 cached
    ran fit[a], fit[b], report  --set stages.fit.params.epochs=9
    --set 'stages.load.params.source="data"'
    accuracy a 0.9944, b 0.9778  loss a 0.005556, b 0.02222  steps a 900, b 900
20260103T233000-333333  2026-01-04 08:30  4 min 45 s  tensorflow  4 cached
    accuracy a 0.9938, b 0.975  loss a 0.00625, b 0.025  steps a 800, b 800
20260102T233000-222222  2026-01-03 08:30  4 min 45 s  tensorflow  3 of 4 ran, 1 cached
    ran fit[a], fit[b], report
    accuracy a 0.9938, b 0.975  loss a 0.00625, b 0.025  steps a 800, b 800
20260101T233000-111111  2026-01-02 08:30  4 min 45 s  tensorflow  1 of 1 ran
"""
    )
    assert toy.kpipe("runs", "--limit", "1").out == "\n".join(result.out.splitlines()[:3]) + "\n"


@pytest.mark.slow
def test_runs_of_a_wide_matrix_stay_narrow(toy: Toy) -> None:
    models = ", ".join(f'{{ name = "a-model-with-a-long-name-{i}", rate = {i}.5 }}' for i in range(12))
    toy.edit("pipeline.toml", '[{ name = "a", rate = 0.5 }, { name = "b", rate = 2 }]', f"[{models}]")
    toy.run()
    toy.edit("pipeline.toml", "epochs = 8", f'epochs = 9\nnote = "{"very " * 30}long"')
    toy.run()
    for command in (["runs"], ["diff", "last~1", "last"]):
        out = toy.kpipe(*command).out
        assert max(map(len, out.splitlines())) <= 100, out
    assert '\nnote "" -> "very very .. y very very very long"  fit[a-model-with-a-long-name-0] and 11 more\n' in out
    assert "accuracy a-model-with-a-long-name-0 0.9944, a-model-with-a-long-name-1 0.9833" in toy.kpipe("runs").out


def test_runs_as_json_tells_everything(toy: Toy) -> None:
    toy.run("--set", f"{EPOCHS}=8")
    toy.kpipe("run", "--set", f"{EPOCHS}=13")
    last, first = toy.kpipe("runs", "--json").json
    assert first["overrides"] == ["stages.fit.params.epochs=8"]
    assert (first["pipeline"], first["backends"], first["interrupted"]) == ("toy", ["tensorflow"], False)
    assert first["started"] <= first["ended"] <= last["started"]
    told = first["instances"]["fit[a]"]
    record = json.loads((toy.root / ".kpipe" / "records" / f"{told['key']}.json").read_text())
    assert (told["status"], told["error"], told["gather"], told["headline"]) == ("done", None, False, HEADLINE_OF_A)
    assert record["output_digest"].startswith(told["output"])
    assert first["instances"]["report"]["gather"]
    assert [entry["status"] for entry in last["instances"].values()] == ["cached", "failed", "not run", "not run"]
    failed = last["instances"]["fit[a]"]
    assert failed["error"].startswith("loss is not finite") and failed["output"] is None
    assert Path(failed["log"]).is_file()


def test_runs_before_the_first_run_says_so(toy: Toy) -> None:
    result = toy.kpipe("runs")
    assert (result.code, result.out, result.err) == (0, "", "toy has not run yet in .kpipe\n")
    assert toy.kpipe("runs", "--json").json == []


def test_runs_of_a_file_with_mistakes_can_still_be_read(toy: Toy) -> None:
    toy.run()
    toy.edit("pipeline.toml", "epochs = 8", "epochz = 8\n[stages.more]\nneeds = 3")
    assert toy.kpipe("run").code == 2
    assert len(ids(toy)) == 1
    assert toy.kpipe("runs", "nowhere.toml").code == 2


def test_pipelines_of_one_name_in_one_store_keep_their_runs_apart(toy: Toy, tmp_path: Path) -> None:
    toy.environment["KPIPE_STORE"] = str(tmp_path / "store")
    other = Toy(tmp_path / "other")
    other.environment = toy.environment
    toy.run()
    other.run("--until", "load")
    assert [len(run["instances"]) for run in toy.kpipe("runs", "--json").json] == [4]
    assert [len(run["instances"]) for run in other.kpipe("runs", "--json").json] == [1]
    assert toy.kpipe("diff", "last~1", "last").code == 2


# the file


def test_interrupted_run_is_in_the_history_with_what_it_did(toy: Toy) -> None:
    run_until_started(toy, signal.SIGINT)
    told = toy.kpipe("runs", "--json").json
    assert [run["interrupted"] for run in told] == [True]
    assert {id_: entry["status"] for id_, entry in told[0]["instances"].items()} == {
        "load": "done",
        "fit[a]": "not run",
        "fit[b]": "not run",
        "report": "not run",
    }
    assert "  1 of 4 ran, interrupted\n    ran load  not run fit[a], fit[b], report\n" in toy.kpipe("runs").out


def test_killed_run_is_not_in_the_history_and_the_next_one_is(toy: Toy) -> None:
    run_until_started(toy, signal.SIGKILL)
    assert ids(toy) == []
    toy.edit("stages/helper.py", "time.sleep(60)", "pass")
    toy.run()
    assert [run["instances"]["load"]["status"] for run in toy.kpipe("runs", "--json").json] == ["cached"]


def run_until_started(toy: Toy, ended_by: int) -> None:
    """Start a run, and end it while fit[a] works."""
    began = toy.root / "began"
    toy.edit("stages/helper.py", "    return", f"    import time; open('{began}', 'w').close(); time.sleep(60)\n    return")
    process = toy.start("run")
    deadline = time.monotonic() + 30
    while not began.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(ended_by)
    process.communicate(timeout=20)


def test_torn_tail_costs_its_own_run_only(toy: Toy) -> None:
    for _ in range(3):
        toy.run()
    date(toy)
    lines(toy).write_bytes(lines(toy).read_bytes()[:-30])
    assert ids(toy) == ["20260102T233000-222222", "20260101T233000-111111"]
    toy.run()
    last, *rest = ids(toy)
    assert rest == ["20260102T233000-222222", "20260101T233000-111111"]
    assert json.loads(lines(toy).read_text().splitlines()[-1])["run"] == last


def test_a_line_torn_anywhere_never_harms_another(toy: Toy) -> None:
    toy.run("--until", "load")
    date(toy)
    store, whole = Store(toy.root / ".kpipe"), lines(toy).read_bytes()
    second = whole.replace(b"20260101T233000-111111", b"second")
    for kept in range(len(second)):
        lines(toy).write_bytes(whole + second[:kept])
        history.write(store.root, whole.strip())
        found = [run["run"] for run in history.runs(store)]
        expected = ["20260101T233000-111111", *(["second"] if kept == len(second) - 1 else []), "20260101T233000-111111"]
        assert found == expected, kept


def test_lines_that_are_no_runs_are_passed_over(toy: Toy) -> None:
    toy.run("--until", "load")
    whole, store = lines(toy).read_bytes(), Store(toy.root / ".kpipe")
    rubbish = [
        b"\0" * 99,
        b"\xff\xfe",
        b"5",
        b"[]",
        b"{}",
        b'{"run": 1}',
        b'{"run": "x", "pipeline": "toy"}',
        whole.replace(b"[", b""),
    ]
    for line in [*rubbish, whole.strip().replace(b'"instances":{', b'"instances":[{}],"more":{')]:
        lines(toy).write_bytes(line + b"\n" + whole + line + b"\n\n" + line)
        assert len(list(history.runs(store))) == len(list(history.runs(store, "toy"))) == 1, line


def test_runs_of_eight_processes_at_once_are_all_there(toy: Toy) -> None:
    toy.run()
    processes = [toy.start("run", "--set", f"{EPOCHS}=8") for _ in range(8)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    written = [json.loads(line) for line in lines(toy).read_text().splitlines()]
    assert len({run["run"] for run in written}) == len(written) == 9
    assert ids(toy) == [run["run"] for run in reversed(written)]


def test_long_lines_that_the_system_takes_in_pieces_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def partial(handle: int, data: bytes) -> int:
        time.sleep(0.0001)  # let another writer in
        return real(handle, data[:997])

    monkeypatch.setattr(os, "write", partial)
    texts = [bytes([65 + i]) * (20_000 + i) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: history.write(tmp_path, text), texts))
    assert sorted((tmp_path / "runs.jsonl").read_bytes().split(b"\n")) == sorted([*texts, b""])


def test_lines_are_read_from_the_end_and_no_further_than_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(5)
    written = [bytes(rng.choices(b"abc", k=rng.randrange(40))) for _ in range(300)]
    (tmp_path / "runs.jsonl").write_bytes(b"".join(line + b"\n" for line in written))
    for block in (1, 7, 64, 1 << 18):
        monkeypatch.setattr(history, "BLOCK", block)
        assert list(history.backwards(tmp_path / "runs.jsonl")) == [b"", *reversed(written)]
    monkeypatch.setattr(history, "BLOCK", 64)
    reading = history.backwards(tmp_path / "runs.jsonl")
    last = list(islice(reading, 5))
    with (tmp_path / "runs.jsonl").open("r+b") as file:  # what was not asked for is read later
        file.write(b"X" * 1000)
    assert last == [b"", *reversed(written[-4:])]
    assert b"X" * 40 in b"".join(reading)


def test_lines_stay_small(toy: Toy) -> None:
    models = ", ".join(f'{{ name = "m{i}", rate = {i}.5 }}' for i in range(20))
    toy.edit("pipeline.toml", '[{ name = "a", rate = 0.5 }, { name = "b", rate = 2 }]', f"[{models}]")
    toy.edit("stages/fit.py", "metrics.json", "other.json")
    toy.run()
    toy.run()
    first, cached = lines(toy).read_text().splitlines()
    assert len(cached) < 22 * 100 + 300  # a key has 64 characters
    assert len(first) < len(cached) + 22 * 20
    toy.kpipe("run", "--set", f"{EPOCHS}=13")
    assert len(lines(toy).read_text().splitlines()[-1]) < 22 * 40 + 900  # the error's text was longer than this


# kpipe diff


def test_diff_shows_what_was_changed_and_what_came_of_it(toy: Toy) -> None:
    toy.run()
    toy.edit("stages/deep.py", "10", "12")
    toy.edit("pipeline.toml", '{ name = "b", rate = 2 }', '{ name = "b", rate = 0.1 }, { name = "c", rate = 3 }')
    toy.run("--set", f"{EPOCHS}=7")
    date(toy)
    result = toy.kpipe("diff", "last~1", "last")
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        """\
old  20260101T233000-111111  2026-01-02 08:30  tensorflow
new  20260102T233000-222222  2026-01-03 08:30  tensorflow  --set stages.fit.params.epochs=7

change                          in
epochs 8 -> 7                   fit[a], fit[b]
stages/deep.py: FACTOR changed  fit[a], fit[b]
rate 2.0 -> 0.1                 fit[b]
branch c added                  report
only in new                     fit[c]

instance  metric    old      new       change
fit[a]    accuracy  0.9938   0.9914    -0.00232  worse
          loss      0.00625  0.008571  +0.00232  worse
          steps     800      700       -100
fit[b]    accuracy  0.975    0.9983    +0.0233   better
          loss      0.025    0.001714  -0.0233   better
          steps     800      700       -100
fit[c]    accuracy  (none)   0.9486
          loss      (none)   0.05143
          steps     (none)   700
other metrics that changed: 8 (--json tells them)
"""
    )


def test_diff_names_what_only_its_inputs_tell_apart_once_and_last(toy: Toy) -> None:
    toy.run()
    toy.run("--set", f"{EPOCHS}=9")
    out = toy.kpipe("diff", "last~1", "last").out
    assert "\n\nchange           in\nepochs 8 -> 9    fit[a], fit[b]\nonly its inputs  report\n\n" in out


def test_diff_of_equal_runs_says_so(toy: Toy) -> None:
    toy.run()
    toy.run()
    for pair in (["last~1", "last"], ["last", "last"]):
        assert toy.kpipe("diff", *pair).out == "no difference\n"
    told = toy.kpipe("diff", "last~1", "last", "--json").json
    assert [told[name] for name in ("only_old", "only_new", "changes", "metrics", "gone")] == [[], [], [], [], []]


def test_diff_as_json_tells_everything(toy: Toy) -> None:
    toy.run()
    toy.run("--set", f"{EPOCHS}=16", "--until", "fit[a]")
    told = toy.kpipe("diff", "last~1", "last", "--json").json
    assert [told["old"]["run"], told["new"]["run"]] == ids(toy)[::-1]
    assert told["new"]["overrides"] == ["stages.fit.params.epochs=16"]
    assert (told["only_old"], told["only_new"], told["gone"]) == (["fit[b]", "report"], [], [])
    assert told["changes"] == [{"instance": "fit[a]", "kind": "parameter", "name": "epochs", "old": 8, "new": 16}]
    of_a = {row["name"]: row for row in told["metrics"] if row["instance"] == "fit[a]"}
    assert list(of_a) == ["accuracy", "loss", "steps", "per_class.cat.f1", "interval.1"]
    assert of_a["accuracy"] == {
        "instance": "fit[a]",
        "name": "accuracy",
        "old": 0.99375,
        "new": 0.996875,
        "change": pytest.approx(0.003125),
        "better": True,
        "headline": True,
    }
    assert (of_a["loss"]["better"], of_a["steps"]["better"], of_a["steps"]["change"]) == (True, None, 800)
    assert not of_a["interval.1"]["headline"]


def test_diff_of_a_failed_run_says_what_failed(toy: Toy) -> None:
    toy.run()
    toy.kpipe("run", "--set", f"{EPOCHS}=13", "--keep-going")
    out = toy.kpipe("diff", "last~1", "last").out
    assert "done -> failed                             fit[a], fit[b]\n" in out
    assert "another key (it has no record to compare)  fit[a], fit[b]\n" in out
    assert "fit[a]    accuracy  0.9938   (none)\n" in out


def test_diff_takes_the_history_where_an_artifact_is_gone_and_says_so(toy: Toy) -> None:
    toy.run()
    for path in objects_with_metrics(toy):
        shutil.rmtree(path)
    toy.run("--set", f"{EPOCHS}=9")
    out = toy.kpipe("diff", "last~1", "last").out
    assert "fit[a]    accuracy  0.9938   0.9944    +0.000694  better\n" in out
    assert out.endswith("the artifact is gone, so from the history, which has the headline only: fit[a] (old), fit[b] (old)\n")
    assert "epochs 8 -> 9" in out
    told = toy.kpipe("diff", "last~1", "last", "--json").json
    assert told["gone"] == [{"instance": id_, "run": ids(toy)[1]} for id_ in ("fit[a]", "fit[b]")]
    assert all(row["headline"] for row in told["metrics"])


def test_diff_tells_runs_apart_that_made_something_else_from_the_same_key(toy: Toy) -> None:
    toy.edit("stages/fit.py", "accuracy = 1", "accuracy = len(list(Path(__file__).parents[1].glob('seen-*'))) + 1")
    toy.run()
    toy.write("seen-1", "")
    toy.run("--force", "fit[a]")
    out = toy.kpipe("diff", "last~1", "last").out
    assert "another output of the same key  fit[a]\n" in out
    assert "only its inputs                 report\n" in out
    assert "fit[a]    accuracy  0.9938   1.994    +1      better\n" in out
    assert out.endswith("which has the headline only: fit[a] (old)\n")


def test_diff_shows_first_metrics_where_an_artifact_names_no_headline(toy: Toy) -> None:
    told = "{f'metric{i:02d}': i * epochs for i in range(20)}"
    toy.edit("stages/fit.py", "json.dumps(told)", f"json.dumps({told})")
    toy.run()
    assert "metric" not in toy.kpipe("runs").out
    toy.run("--set", f"{EPOCHS}=9")
    out = toy.kpipe("diff", "last~1", "last").out
    assert "fit[a]    metric01  8    9    +1\n          metric02  16   18   +2\n" in out
    assert "metric08  64   72   +8\nfit[b]" in out and "metric09" not in out
    assert out.endswith("other metrics that changed: 22 (--json tells them)\n")


def test_diff_takes_ids_and_unambiguous_beginnings_of_them(toy: Toy) -> None:
    toy.run()
    toy.run("--set", f"{EPOCHS}=9")
    toy.run("--set", f"{EPOCHS}=10")
    first, second, third = date(toy)
    expected = toy.kpipe("diff", "last~2", "last~1").out
    assert expected.startswith(f"old  {first}") and f"\nnew  {second}" in expected
    assert toy.kpipe("diff", first, second).out == expected
    assert toy.kpipe("diff", "20260101", "20260102T23").out == expected
    assert toy.kpipe("diff", "last~0", "last").out == toy.kpipe("diff", third, third).out == "no difference\n"


def test_diff_of_an_unknown_run_names_the_nearest(toy: Toy) -> None:
    toy.run("--until", "load")
    toy.run("--until", "load")
    first, last = date(toy)
    listed = f"no such run among the 2 of this pipeline\n  hint: kpipe runs lists them: {last}, {first}\n"
    for name, said in {
        "2026": f"error: 2026 is the beginning of {last}, {first}\n  hint: give more of the run's id\n",
        f"{last[:-1]}1": f"no such run among the 2 of this pipeline\n  hint: did you mean {last} or {first}?\n",
        "nothing": f"error: nothing: {listed}",
        "last~2": f"error: last~2: {listed}",
        f"last~{'9' * 5000}": listed,
    }.items():
        result = toy.kpipe("diff", name, "last")
        assert (result.code, result.out) == (2, "")
        assert said in result.err


# metrics.json


def test_metrics_that_nobody_understands_harm_no_run(toy: Toy) -> None:
    entries = {"a": 1, "b": {"value": "x"}, "c": {"value": True}, "d": {}, "e": {"value": None, "better": "higher"}}
    for told in (None, 3, "text", [1, 2], {}, {"headline": 5}, {"headline": []}, {"headline": entries}):
        assert metrics.headline(told) == metrics.numbers(told) == {}
    toy.edit("stages/fit.py", "json.dumps(told)", "json.dumps(told)[:-9]")
    toy.run()
    assert [entry["headline"] for entry in toy.kpipe("runs", "--json").json[0]["instances"].values()] == [{}] * 4


def test_a_folder_called_metrics_json_harms_no_run(toy: Toy) -> None:
    toy.edit(
        "stages/fit.py",
        '    (stage.out / "metrics.json")',
        '    (stage.out / "metrics.json").mkdir()\n    (stage.out / "metrics.json" / "x")',
    )
    toy.run()
    toy.run("--set", f"{EPOCHS}=9")
    assert len(ids(toy)) == 2
    assert toy.kpipe("diff", "last~1", "last").code == 0


def test_numbers_are_found_at_any_depth() -> None:
    told: dict[str, Any] = {
        "headline": {"x": {"value": 1}},
        "a": {"b": {"c": 1.5}, "yes": True, "no": None, "text": "7"},
        "list": [1, [2]],
    }
    assert metrics.numbers(told) == {"a.b.c": 1.5, "list.0": 1, "list.1.0": 2}
    assert metrics.headline(told) == {"x": {"value": 1, "better": None}}
    assert metrics.headline({"headline": {"x": {"value": 1, "better": "sideways"}}}) == {"x": {"value": 1, "better": None}}


def test_a_metric_that_is_no_number_any_more_is_shown_and_is_valid_json(toy: Toy) -> None:
    toy.edit("stages/fit.py", "accuracy = 1", "accuracy = float('nan') if epochs == 9 else 1")
    toy.run()
    toy.run("--set", f"{EPOCHS}=9")
    assert "  accuracy a nan, b nan  loss a nan, b nan  steps" in toy.kpipe("runs").out
    assert "fit[a]    accuracy  0.9938   nan  +nan\n" in toy.kpipe("diff", "last~1", "last").out
    assert toy.kpipe("diff", "last~1", "last", "--json").json["metrics"][0]["new"] is None
    for command in (["runs", "--json"], ["diff", "last~1", "last", "--json"]):
        assert "NaN" not in toy.kpipe(*command).out
