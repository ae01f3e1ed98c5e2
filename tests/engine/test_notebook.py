"""from kpipe.notebook import run: the same engine, in a process that lives on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kpipe.errors import ConfigError
from kpipe.notebook import run
from kpipe.tomlfile import apply_overrides, as_toml
from tests.engine.conftest import ALL, Toy


@pytest.fixture
def told(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A toy whose fit tells metrics, and whose folder is the working directory."""
    toy.edit(
        "stages/fit.py",
        "    stage.measure",
        '    (stage.out / \'metrics.json\').write_text(f\'{{"rate": {rate}, "deep": {{"epochs": {epochs}}}}}\')\n    stage.measure',
    )
    monkeypatch.chdir(toy.root)
    for name in ("KERAS_BACKEND", "KPIPE_STORE"):
        monkeypatch.delenv(name, raising=False)
    return toy


def test_outcomes_artifacts_reports_and_metrics(told: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    result = run("pipeline.toml", set={"stages.fit.params.epochs": 3})
    assert {id_: stage.status for id_, stage in result.stages.items()} == dict.fromkeys(sorted(ALL), "done")
    assert result.failed == []
    assert result.reports == [told.root / "reports" / "toy-tensorflow.html"]
    folder = result.stages["fit[a]"].artifact
    assert folder and (folder / "fit.txt").read_text() == "10.0 after 3"
    assert result.metrics.to_dict("index") == {
        "fit[a]": {"model": "a", "rate": 0.5, "deep.epochs": 3},
        "fit[b]": {"model": "b", "rate": 2, "deep.epochs": 3},
    }
    out, err = capsys.readouterr()
    assert out == "" and "fit[a]  runs: not run before" in err


def test_second_call_in_the_same_process_sees_what_changed_since(told: Toy) -> None:
    run(quiet=True)
    assert {s.status for s in run(quiet=True).stages.values()} == {"cached"}
    told.edit("stages/deep.py", "10", "11")
    again = run(quiet=True)
    assert {id_ for id_, s in again.stages.items() if s.status == "done"} == {"fit[a]", "fit[b]", "report"}
    assert len(told.kpipe("runs", "--json").json) == 3


def test_failed_stage_is_a_result_and_a_mistake_in_the_file_an_error(told: Toy) -> None:
    told.edit("stages/fit.py", "    stage.measure", "    assert rate < 1, 'too high'\n    stage.measure")
    result = run(keep_going=True, quiet=True)
    (failed,) = result.failed
    assert failed.id == "fit[b]" and failed.error and failed.error.message == "AssertionError: too high"
    assert failed.log and failed.log.is_file()
    assert failed.artifact is None
    with pytest.raises(ConfigError, match="has no parameter epoch"):
        run(set={"stages.fit.params.epoch": 3})


def test_choice_of_stages(told: Toy) -> None:
    assert set(run(until="load", quiet=True).stages) == {"load"}
    assert run(only="load", force="load", quiet=True).stages["load"].status == "done"


def test_pandas_is_imported_only_when_metrics_are_asked_for(told: Toy) -> None:
    probe = (
        "import sys; from kpipe.notebook import run; r = run(quiet=True); before = 'pandas' in sys.modules;"
        "r.metrics; import json; print(json.dumps([before, 'pandas' in sys.modules, 'keras' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=told.root, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [False, True, False]


VALUES = [True, 3, -2.5, 1e-7, float("inf"), 'a "b" \\ \n ä \x7f', [1, "x"], {"name": "a", "odd key": [1.5]}, []]


@pytest.mark.parametrize("value", VALUES)
def test_python_values_arrive_as_they_are(value: object) -> None:
    assert apply_overrides({"stages": {"a": {}}}, [f"stages.a.b={as_toml(value)}"]) == {"stages": {"a": {"b": value}}}


def test_value_that_toml_does_not_know_is_named() -> None:
    with pytest.raises(TypeError, match="NoneType cannot be a parameter"):
        as_toml(None)
    assert as_toml(Path("a/b")) == '"a/b"'


@pytest.mark.parametrize("option", ["from_", "until", "only", "force"])
def test_an_empty_name_is_no_stage(told: Toy, option: str) -> None:
    with pytest.raises(ConfigError, match='no stage ""'):
        run(quiet=True, **{option: ""})
