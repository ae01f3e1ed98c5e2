"""Values held against annotations."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from kpipe.closure import Project
from kpipe.contract import tables
from kpipe.expand import build_dag
from kpipe.signature import Annotations, Type
from kpipe.spec import load
from kpipe.values import as_declared, check, path_leaf

TABLES = """
class Phase(TypedDict, total=False):
    unfreeze: Required[Annotated[int, "0 <= unfreeze"] | Literal["all"]]
    epochs: int

class Warmup(typing.TypedDict):
    epochs: float
    after: NotRequired[list[Phase]]
    def method(self): ...

class Settings:
    epochs: int
"""


def parse(annotation: str) -> Type:
    return Annotations(lambda package: ["resnet50", "vgg16"], tables(ast.parse(TABLES))).parse(annotation)


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        ("int", [3, -1], [True, 3.0, "3", [3]]),
        ("float", [3, 0.5], [True, "1"]),
        ("bool", [True], [1, "true"]),
        ("str", ["x"], [1, None]),
        ("Literal['a', 'b']", ["a"], ["c", 1]),
        ("int | Literal['all']", [4, "all"], ["some", 1.5]),
        ("list[int]", [[], [1, 2]], [[1, "a"], 1]),
        ("float | None", [None, 1], ["x"]),
        ("Annotated[float, '0 <= dropout < 1']", [0, 0.99], [1, -0.1, "x"]),
        ("Annotated[int, 'n >= 1'] | Literal['all']", [1, "all"], [0, "al"]),
        ("Annotated[float, '0 <= zoom'] | None", [None, 1], [-1]),
        ("Annotated[list[float], 'x > 0']", [[1, 2]], [[1, 0]]),
        ("Module['stages.backbones']", ["vgg16"], ["vgg"]),
        ("Literal['random'] | Pretrained | File", ["random", "imagenet", "a.h5"], [3]),
        ("Phase", [{"unfreeze": 0}, {"unfreeze": "all", "epochs": 3}], [{}, {"epochs": 3}, {"unfreeze": -1}, [], None, 3, "x"]),
        ("list[Phase]", [[], [{"unfreeze": 0}] * 2], [{"unfreeze": 0}, [{"unfreeze": 0}, {}], [3], ["x"]]),
        ("list[Phase] | None", [None, [{"unfreeze": 1}]], [[None], [{"unfreeze": None}]]),
        ("Phase | Literal['off']", ["off", {"unfreeze": 1}], ["of", {"unfreeze": "of"}]),
        (
            "Warmup",
            [{"epochs": 1}, {"epochs": 1.5, "after": [{"unfreeze": 2}]}],
            [{}, {"epochs": 1, "after": {}}, {"epochs": 1, "after": [{}]}],
        ),
    ],
)
def test_check(annotation: str, good: list, bad: list) -> None:
    type_ = parse(annotation)
    assert [v for v in good if check(v, type_)] == []
    assert [v for v in bad if not check(v, type_)] == []


def test_nearest_name_is_hinted() -> None:
    [mismatch] = check("vg16", parse("Module['stages.backbones']"))
    assert mismatch.hint == 'did you mean "vgg16"?'


def test_a_path_is_what_no_other_alternative_is() -> None:
    type_ = parse("Literal['random'] | Pretrained | File")
    assert path_leaf("random", type_) is None
    assert path_leaf("imagenet", type_) is None
    assert path_leaf("w.h5", type_) is not None


@pytest.mark.parametrize(
    ("annotation", "value", "given"),
    [
        ("float", 1, 1.0),
        ('float | Literal["find"]', 1, 1.0),
        ('float | Literal["find"]', "find", "find"),
        ("float | None", None, None),
        ("int | float", 1, 1),
        ("int", 1, 1),
        ("list[float]", [1, 2.5], [1.0, 2.5]),
        ("bool | float", True, True),
    ],
)
def test_a_whole_number_is_a_float_where_only_floats_are_known(annotation: str, value: object, given: object) -> None:
    found = as_declared(value, parse(annotation))
    assert repr(found) == repr(given)


def test_a_table_has_the_order_of_its_type_at_any_depth() -> None:
    value = [{"after": [{"epochs": 2, "unfreeze": 1}], "epochs": 3}]
    found = as_declared(value, parse("list[Warmup] | None"))
    assert repr(found) == "[{'epochs': 3.0, 'after': [{'unfreeze': 1, 'epochs': 2}]}]"


@pytest.mark.parametrize(("default", "written"), [("1", "1"), ("1", "1.0"), ("[1, {'b': 2, 'a': 3}]", "[1, { a = 3, b = 2 }]")])
def test_a_default_reaches_the_stage_as_the_same_value_in_the_file_does(tmp_path: Path, default: str, written: str) -> None:
    table = "class T(TypedDict):\n  a: float\n  b: float\n"
    (tmp_path / "fit.py").write_text(f"{table}def run(stage, *, rate: float | list[float | T] = {default}): ...\n")
    values = []
    for params in ("", f"[stages.fit.params]\nrate = {written}\n"):
        (tmp_path / "pipeline.toml").write_text(f'[stages.fit]\nrun = "fit"\n{params}')
        dag = build_dag(load(tmp_path / "pipeline.toml"), Project(tmp_path))
        values.append(repr(dag.instances["fit"].parameters.values))
    assert values[0] == values[1]
    assert "1.0" in values[0]


@pytest.mark.parametrize("annotation", ["dict", "complex", "tuple[int]", "Optional[int]", "np.ndarray", "Settings", "Unknown"])
def test_other_annotations_are_refused(annotation: str) -> None:
    with pytest.raises(ValueError, match="is not one that a stage's parameter may have"):
        parse(annotation)


def test_every_mistake_in_tables_has_its_place() -> None:
    value = [{"unfreeze": 0, "epochs": 2.5}, {"unfreeze": -1, "epohcs": 3}, {}, "x"]
    places = [(mismatch.at, mismatch.unknown, mismatch.missing) for mismatch in check(value, parse("list[Phase]"))]
    assert places == [
        ((0, "epochs"), None, None),
        ((1, "unfreeze"), None, None),
        ((1, "epohcs"), "epohcs", None),
        ((2,), None, "unfreeze"),
        ((3,), None, None),
    ]
