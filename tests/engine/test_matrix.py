"""Axes, include, exclude, the backend axis, gather."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpipe.closure import Project
from kpipe.dag import Dag
from kpipe.errors import ConfigError
from kpipe.expand import build_dag
from kpipe.spec import load

STAGES = {
    "load": "def run(stage, *, n: int = 1): ...",
    "net": "import keras\ndef run(stage, *, model: str, epochs: int = 1, note: str = ''): ...",
    "score": "import keras\ndef run(stage, *, seed: int = 0): ...",
    "report": "def run(stage): ...",
}

BASE = """
[matrix]
{matrix}
[stages.load]
run = "stages.load"
[stages.net]
run = "stages.net"
needs = ["load"]
[stages.net.params]
model = "${{model.name}}"
{params}
[stages.score]
run = "stages.score"
needs = ["load", "net"]
[stages.report]
run = "stages.report"
needs = ["load", "score"]
gather = true
"""


@pytest.fixture
def dag(tmp_path: Path):
    def make(matrix: str, params: str = "") -> Dag:
        (tmp_path / "stages").mkdir(exist_ok=True)
        for name, text in STAGES.items():
            (tmp_path / "stages" / f"{name}.py").write_text(text)
        file = tmp_path / "pipeline.toml"
        file.write_text(BASE.format(matrix=matrix, params=params))
        return build_dag(load(file), Project(tmp_path))

    return make


def test_stage_exists_once_per_value_it_mentions_and_inherits_axes(dag) -> None:
    found = dag('model = ["a", "b"]')
    assert list(found.instances) == ["load", "net[a]", "net[b]", "score[a]", "score[b]", "report"]
    assert found.instances["score[b]"].inputs == {"load": "load", "net": "net[b]"}
    assert [(dict(axes), dict(inputs)) for axes, inputs in found.instances["report"].branches] == [
        ({"model": "a"}, {"load": "load", "score": "score[a]"}),
        ({"model": "b"}, {"load": "load", "score": "score[b]"}),
    ]


def test_backend_axis_multiplies_what_imports_keras(dag) -> None:
    found = dag('model = ["a"]\nbackend = ["tensorflow", "jax"]')
    assert list(found.instances) == ["load", "net[a,tensorflow]", "net[a,jax]", "score[a,tensorflow]", "score[a,jax]", "report"]
    assert found.instances["net[a,jax]"].backend == "jax"
    assert found.instances["load"].backend is None
    assert found.spec.backends == ["jax", "tensorflow"]


def test_keras_backend_picks_a_value_of_the_axis_and_says_so(dag, monkeypatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    found = dag('model = ["a"]\nbackend = ["tensorflow", "jax"]')
    assert [i for i in found.instances if "net" in i] == ["net[a,jax]"]
    assert found.notices == ("KERAS_BACKEND=jax picks one of the file's backends: tensorflow, jax",)


def test_keras_backend_that_the_axis_does_not_list_is_an_error(dag, monkeypatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(ConfigError, match="KERAS_BACKEND=jax is not one of the file's backends: tensorflow"):
        dag('model = ["a"]\nbackend = ["tensorflow"]')


def test_exclude_and_include_as_in_github_actions(dag) -> None:
    matrix = """
    model = ["a", "b"]
    seed = [1, 2]
    exclude = [{ model = "a", seed = 2 }]
    include = [{ model = "b", long = 9 }, { model = "a", long = 3 }, { model = "a", seed = 2, long = 4 }]
    """
    found = dag(matrix, 'epochs = "${long}"\nnote = "seed ${seed} of ${model}"')
    values = {i.id: i.parameters.values for i in found.instances.values() if i.stage.name == "net"}
    assert {id_: (v["epochs"], v["note"]) for id_, v in values.items()} == {
        "net[a,1]": (3, "seed 1 of a"),
        "net[b,1]": (9, "seed 1 of b"),
        "net[b,2]": (9, "seed 2 of b"),
        "net[a,2]": (4, "seed 2 of a"),
    }


def test_whole_reference_keeps_its_type(dag) -> None:
    found = dag('model = [{ name = "a", epochs = 7 }]', 'epochs = "${model.epochs}"\nnote = "${model.epochs} epochs"')
    assert found.instances["net[a]"].parameters.values == {"model": "a", "epochs": 7, "note": "7 epochs"}


def test_include_without_all_axes_that_matches_nothing_is_an_error(dag) -> None:
    with pytest.raises(ConfigError, match="without a value for seed"):
        dag('model = ["a"]\nseed = [1]\nexclude = [{ model = "a" }]\ninclude = [{ model = "a", x = 1 }]')
