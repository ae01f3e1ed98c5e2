"""kpipe doctor and kpipe init at the command line, without Keras."""

from __future__ import annotations

import json
import shutil
import textwrap

import pytest

from kpipe.commands import init
from kpipe.identity import BACKENDS
from kpipe.spec import load
from tests.engine.conftest import PIPELINE, Toy

DOCTOR = """
import json
from pathlib import Path
from kpipe.stage import Stage

def run(stage: Stage, *, model: str = "", data: str = "", history: str = "") -> None:
    assert not model or (Path(model).is_file() and Path(data).is_dir())
    model = Path(model).name
    stage.notice(f"asked for {model or 'the last run'}")
    found = [
        {"branch": "b", "rule": "unfinished", "severity": "note", "title": "Training ended", "cause": "It did.",
         "evidence": {"epochs_run": 3, "cat_s/img_01.jpg": "labelled sea_dog"}, "fix": None, "effect": None, "confidence": 1.0},
        {"branch": "a", "rule": "input-scale", "severity": "error", "title": "Wrong pixels", "cause": "They are.",
         "evidence": {"range_expected": [-123.6812, 151.0], "distance_nats": 1234.5678}, "fix": 'scaling = "model"',
         "effect": {"as_configured": 0.5, "with_fix": 0.9375, "measure": "accuracy of a probe"}, "confidence": 1.0},
    ]
    (stage.out / "findings.json").write_text(json.dumps(found if model != "fine.keras" else []))
"""
SHOWN = """\
error: Wrong pixels  (input-scale)  [a]
  They are.
  range expected: -123.7, 151
  distance nats: 1235
  measured: 0.5 -> 0.938, accuracy of a probe
  fix: scaling = "model"

note: Training ended  (unfinished)  [b]
  It did.
  epochs run: 3
  cat_s/img_01.jpg: labelled sea_dog

"""


@pytest.fixture
def toy(toy: Toy) -> Toy:
    toy.write("stages/tools/doctor.py", DOCTOR)
    for name in ("fine.keras", "other.keras"):
        toy.write(name, "")
    return toy


def test_findings_of_the_last_run_errors_first(toy: Toy) -> None:
    done = toy.kpipe("doctor")
    assert done.code == 0 and done.out == SHOWN
    assert "asked for the last run" in done.err


def test_findings_as_json(toy: Toy) -> None:
    done = toy.kpipe("doctor", "other.keras", "--data", "data", "--json")
    assert [finding["rule"] for finding in json.loads(done.out)] == ["unfinished", "input-scale"]
    assert "asked for other.keras" in done.err


def test_nothing_found_is_said(toy: Toy) -> None:
    assert toy.kpipe("doctor", "fine.keras", "--data", "data").out == "nothing was found\n"


def test_files_are_named_from_where_the_person_stands(toy: Toy) -> None:
    toy.write("elsewhere/pipeline.toml", PIPELINE.replace('"data"', '"../data"'))
    shutil.copytree(toy.root / "stages", toy.root / "elsewhere" / "stages")
    done = toy.kpipe("doctor", "other.keras", "--data", "data", "--pipeline", "elsewhere/pipeline.toml")
    assert done.code == 0 and "asked for other.keras" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["pipeline.toml", "none"])
def test_a_network_of_another_program_needs_no_pipeline_beside_it(toy: Toy, kept: str) -> None:
    (toy.root / "stages" / "tools" / "doctor.py").unlink()
    if kept == "none":
        (toy.root / "pipeline.toml").unlink()
    toy.environment["KPIPE_STORE"] = str(toy.root / "store")
    done = toy.kpipe("doctor", "other.keras", "--data", "data")
    assert done.code == 1 and "other.keras cannot be read as a Keras model" in done.err  # by kpipe's own doctor
    done = toy.kpipe("doctor")
    assert done.code == 2 and "hint:" in done.err  # the last run is that of a pipeline


def test_a_tool_is_told_how_the_artifacts_of_the_last_run_came_to_be(toy: Toy) -> None:
    known = """
        known = [f"{b.label} {r['stage']} {r['key']['params'].get('rate')}" for b in stage.branches for r in b.records.values()]
        stage.notice("; ".join(known))
    """
    toy.edit("stages/tools/doctor.py", "    found = [", f"{textwrap.indent(textwrap.dedent(known), '    ')}    found = [")
    toy.run()
    assert "a stages.fit 0.5; a stages.load None; b stages.fit 2.0; b stages.load None" in toy.kpipe("doctor").err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["other.keras"], "MODEL.keras and --data FOLDER go together"),
        (["--data", "data"], "MODEL.keras and --data FOLDER go together"),
        (["--history", "h.csv"], "--history is that of a MODEL.keras"),
        (["missing.keras", "--data", "data"], "missing.keras: no such file or folder"),
        (["other.keras", "--data", "nowhere"], "nowhere: no such file or folder"),
        (["other.keras", "--data", "data", "--history", "h.csv"], "h.csv: no such file or folder"),
    ],
)
def test_arguments_that_do_not_go_together(toy: Toy, arguments: list[str], says: str) -> None:
    done = toy.kpipe("doctor", *arguments)
    assert done.code == 2 and says in done.err and "hint:" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("template", [path.stem for path in init.TEMPLATES.glob("*.toml")])
def test_a_template_is_a_pipeline_without_mistakes(toy: Toy, template: str) -> None:
    done = toy.kpipe("init", "--template", template, "new/one")
    assert done.code == 0 and done.out == "new/one/pipeline.toml\n"
    (toy.root / "new" / "one" / "photos").mkdir()
    spec = load(toy.root / "new" / "one" / "pipeline.toml")
    assert not spec.problems
    shown = toy.kpipe("plan", "new/one/pipeline.toml")
    assert shown.code == 0, shown.err
    assert {name for name in shown.out.split() if name.startswith("evaluate[")} == {
        f"evaluate[{model},{recipe},{backend}]"
        for model in ("resnet50", "vgg16")
        for recipe in ("question", "cure")
        for backend in BACKENDS
    }


def test_init_overwrites_nothing_and_names_the_templates(toy: Toy) -> None:
    done = toy.kpipe("init", "--template", "resnet50-validation-stuck", "data")
    assert done.code == 2 and "not empty" in done.err
    done = toy.kpipe("init", "--template", "vgg", "new")
    assert done.code == 2 and "resnet50-validation-stuck" in done.err
    assert not (toy.root / "new").exists()
