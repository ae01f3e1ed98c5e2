"""Whole messages, as a person reads them."""

from __future__ import annotations

import pytest

from tests.engine.conftest import Toy

SEVERAL = """
[pipeline]
nam = "toy"
backend = "torch"

[matrix]
model = [{ name = "a", rate = 0.1 }, { name = "b", rat = 1 }, "a"]
include = [{ model = "c", extra = 1 }]

[stages.load]
run = "stages.laod"
[stages.load.params]
source = "data"

[stages.fit]
run = "stages.fit"
needs = ["load", "lod"]
[stages.fit.params]
rate = "${modl.rate}"
epohcs = 3

[stages.report]
run = "stages.report"
needs = ["report", "fit"]
gathr = true

[stages.one]
run = "stages.load"
needs = ["two"]
[stages.two]
run = "stages.load"
needs = ["one"]
"""

EXPECTED = """\
error: unknown key nam
  --> pipeline.toml:3:1
 3 | nam = "toy"
   | ^^^
  hint: did you mean name?
error: backend "torch": kpipe runs on tensorflow or jax
  --> pipeline.toml:4:11
 4 | backend = "torch"
   |           ^^^^^^^
error: axis model has the value 'a' twice
  --> pipeline.toml:7:63
 7 | model = [{ name = "a", rate = 0.1 }, { name = "b", rat = 1 }, "a"]
   |                                                               ^^^
error: axis model has no value 'c'
  --> pipeline.toml:8:22
 8 | include = [{ model = "c", extra = 1 }]
   |                      ^^^
  hint: values: a, b
error: run = "stages.laod": there is no such module
  --> pipeline.toml:11:7
 11 | run = "stages.laod"
    |       ^^^^^^^^^^^^^
  hint: did you mean "stages.load"?
error: stage fit needs lod, which is no stage
  --> pipeline.toml:17:18
 17 | needs = ["load", "lod"]
    |                  ^^^^^
  hint: did you mean "load"?
error: ${modl.rate}: there is no axis modl
  --> pipeline.toml:19:8
 19 | rate = "${modl.rate}"
    |        ^^^^^^^^^^^^^^
  hint: did you mean ${model}?
error: stage fit has no parameter epohcs
  --> pipeline.toml:20:1
 20 | epohcs = 3
    | ^^^^^^
  hint: did you mean epochs?
error: stage report needs itself
  --> pipeline.toml:24:10
 24 | needs = ["report", "fit"]
    |          ^^^^^^^^
error: unknown key gathr
  --> pipeline.toml:25:1
 25 | gathr = true
    | ^^^^^
  hint: did you mean gather?
error: stage one needs the parameter source
  --> pipeline.toml:27:2
 27 | [stages.one]
    |  ^^^^^^^^^^
  hint: source = ...
error: stages need each other in a circle: one -> two -> one
  --> pipeline.toml:29:9
 29 | needs = ["two"]
    |         ^^^^^^^
error: stage two needs the parameter source
  --> pipeline.toml:30:2
 30 | [stages.two]
    |  ^^^^^^^^^^
  hint: source = ...
13 errors; nothing was run
"""


def test_all_mistakes_of_a_file_are_shown_at_once_in_its_order(toy: Toy) -> None:
    toy.write("pipeline.toml", SEVERAL)
    result = toy.kpipe("run")
    assert result.code == 2
    assert result.out == ""
    assert result.err == EXPECTED


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            'name = "toy"',
            'name = "toy',
            "error: Illegal character '\\n'\n  --> pipeline.toml:3:12\n 3 | name = \"toy\n   |            ^\n",
        ),
        (
            "epochs = 8",
            'epochs = "8"',
            'error: epochs = "8" is not allowed\n  --> pipeline.toml:18:10\n 18 | epochs = "8"\n    |          ^^^\n'
            "  hint: allowed: a whole number\n",
        ),
        (
            '"${model.rate}"',
            '"${model.speed}"',
            'error: model = "a" has no field speed\n  --> pipeline.toml:17:8\n 17 | rate = "${model.speed}"\n'
            "    |        ^^^^^^^^^^^^^^^^\n  hint: its fields: name, rate\n"
            'error: model = "b" has no field speed\n  --> pipeline.toml:17:8\n 17 | rate = "${model.speed}"\n'
            "    |        ^^^^^^^^^^^^^^^^\n  hint: its fields: name, rate\n2 errors; nothing was run\n",
        ),
        (
            'source = "data"',
            'source = "dat"',
            'error: source = "dat": folder {root}/dat does not exist\n  --> pipeline.toml:11:10\n 11 | source = "dat"\n'
            "    |          ^^^^^\n  hint: paths are relative to the pipeline file; also allowed: (none)\n",
        ),
        ("gather = true", "gather = 1", "error: gather must be true or false, not 1\n"),
        ('run = "stages.fit"', "", "error: stage fit does not say what it runs\n"),
        ("[matrix]\n", "[matrix]\nspare = []\n", "error: axis spare must be a list of values, not []\n"),
    ],
)
def test_message(toy: Toy, old: str, new: str, expected: str) -> None:
    toy.edit("pipeline.toml", old, new)
    result = toy.kpipe("plan")
    assert result.code == 2
    assert result.err.startswith(expected.replace("{root}", str(toy.root)))


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "stages/helper.py",
            "from stages.deep import FACTOR",
            "from .deep import FACTOR",
            "error: relative import `from .deep import ...`",
        ),
        ("stages/deep.py", "FACTOR = 10", "FACTOR = __import__('math').pi", "error: computed import or code: __import__(...)"),
        ("stages/deep.py", "FACTOR = 10", "FACTOR =", "error: invalid syntax\n  --> stages/deep.py:1:9\n"),
        (
            "stages/fit.py",
            "def run(",
            "def go(",
            "error: stages.fit: it has no function run(stage, *, ...)\n  --> stages/fit.py:1:1\n",
        ),
        ("stages/fit.py", "rate: float", "rate: complex", "error: stages.fit: parameter rate: annotation complex is not one"),
        (
            "stages/fit.py",
            "epochs: int = 1",
            "epochs: int = max(1, 2)",
            "error: stages.fit: the default of run's parameter epochs must be",
        ),
        ("stages/report.py", '"title.txt"', '"tilte.txt"', "error: resource 'tilte.txt' does not exist beside report.py"),
    ],
)
def test_mistake_in_a_stage(toy: Toy, file: str, old: str, new: str, expected: str) -> None:
    toy.edit(file, old, new)
    result = toy.kpipe("plan")
    assert result.code == 2
    assert result.err.startswith(expected)


def test_unused_axis_is_a_notice(toy: Toy) -> None:
    toy.edit("pipeline.toml", "[matrix]", "[matrix]\nseed = [1, 2]")
    result = toy.kpipe("plan")
    assert result.code == 0
    assert result.err == "notice: axis seed of the matrix is used by no stage\n"


@pytest.mark.parametrize("backend", ["torch", "numpy", "openvino", "Jax"])
def test_other_keras_backends_are_refused_before_anything_starts(toy: Toy, backend: str) -> None:
    toy.environment["KERAS_BACKEND"] = backend
    result = toy.kpipe("run")
    assert result.code == 2
    assert result.err == f"error: KERAS_BACKEND={backend}: kpipe runs on tensorflow or jax\n  hint: KERAS_BACKEND=tensorflow\n"
    assert not (toy.root / ".kpipe" / "records").exists() or list((toy.root / ".kpipe" / "records").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("rnu",), "did you mean run?"),
        (("run", "nothing.toml"), "error: there is no pipeline file nothing.toml"),
        (("run", "--jobs", "0"), "0 is no whole number of at least 1"),
        (("run", "--executor", "ray"), "executors: local"),
        (("run", "--until", "fitt"), "did you mean fit?"),
        (("plan", "--set", "x"), "--set x: not of the form KEY=VALUE"),
        (("plan", "--set", "stages.fit.params.epochs=many"), "--> --set stages.fit.params.epochs=many"),
    ],
)
def test_wrong_arguments(toy: Toy, arguments: tuple[str, ...], expected: str) -> None:
    result = toy.kpipe(*arguments)
    assert result.code == 2
    assert expected in result.err
    assert "Traceback" not in result.err
