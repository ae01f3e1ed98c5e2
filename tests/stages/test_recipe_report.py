"""What the report shows of phases, of found learning rates, and of a training loss that is not the plain one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from kpipe.stage import Branch
from stages.reporting import figures, recipe, reproduction
from stages.reporting.palette import Palette
from stages.reporting.results import Result, read_results
from tests.stages.fake_artifacts import Run, branches
from tests.stages.test_report import made, words

RATES = [float(rate) for rate in np.geomspace(1e-7, 10, 100)]
FOUND = {"learning_rate": 0.0012, "falls": [1e-4, 1e-2], "rates": RATES, "losses": [2.0] * 50 + [1.0] * 50}
PLAIN: dict[str, Any] = {"schedule": "constant", "warmup": 0.0, "layer_decay": 1.0, "finder": None, "unfrozen_layers": []}
PHASES: list[dict[str, Any]] = [
    {**PLAIN, "first_epoch": 1, "epochs_run": 3, "epoch_chosen": 3, "learning_rate": 0.001},
    {**PLAIN, "first_epoch": 4, "epochs_run": 1, "epoch_chosen": 4, "learning_rate": 0.0012, "finder": FOUND},
    {
        **PLAIN, "first_epoch": 5, "epochs_run": 4, "epoch_chosen": 7, "learning_rate": 1e-5, "schedule": "cosine",
        "warmup": 0.5, "layer_decay": 0.9, "unfrozen_layers": ["conv3", "bn3"],
    },
]  # fmt: skip
COLORS = Palette(("ResNet50",))


def result(folder: Path, **training: Any) -> Result:
    return read_results(branches(folder, [Run({"model": "resnet50"}, training=training)]))[0][0]


def texts(drawing: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]


def test_learning_curves_show_where_phases_begin(tmp_path: Path) -> None:
    several = texts(figures.learning_curves(result(tmp_path / "several", phases=PHASES), COLORS))
    assert [text for text in several if text.startswith("phase")] == ["phase 2", "phase 3"]
    only = texts(figures.learning_curves(result(tmp_path / "only", phases=PHASES[:1]), COLORS))
    assert not [text for text in only if text.startswith("phase")]


@pytest.mark.slow
def test_page_has_a_row_for_each_phase(tmp_path: Path) -> None:
    text = words(made(tmp_path, [Run({"model": "resnet50"}, training={"phases": PHASES})]))
    assert "phaseepochslearnslearning ratechosen" in text
    for row in (
        "11 to 3the head0.0013",
        "24the head0.0012, found4",
        "35 to 8the head and 2 layers1e-05, cosine, warm-up of 0.5 epochs, times 0.9 a layer down7",
    ):
        assert row in text
    assert "Learning-rate range test (Smith 2015) of phase 2" in text


def test_only_phase_has_no_table(tmp_path: Path) -> None:
    text = words(made(tmp_path, [Run({"model": "resnet50"}, training={"phases": PHASES[:1]})]))
    assert "phaseepochslearns" not in text and "range test" not in text


@pytest.mark.slow
def test_curve_of_the_finder_is_a_figure_of_its_own(tmp_path: Path) -> None:
    out = made(tmp_path, [Run({"model": "resnet50"}, training={"phases": PHASES[1:2]})])
    drawing = (out / "figures" / "finder-1-resnet50-1.svg").read_text()
    assert {"0.0012, chosen", "learning rate", "training loss, smoothed", "0.001", "10"} <= set(texts(drawing))
    html = (out / "report.html").read_text()
    assert html.count('aria-label="Smoothed training loss of resnet50') == 1
    assert "0.0012 was chosen" in html


def test_same_finder_gives_the_same_bytes(tmp_path: Path) -> None:
    one = result(tmp_path, phases=PHASES)
    [(name, phase)] = recipe.found_rates(one)
    drawings = [recipe.finder_curve(name, one, phase, COLORS) for _ in range(2)]
    assert drawings[0] == drawings[1]
    assert not re.search(r"\$|mathdefault", drawings[0])


@pytest.mark.slow
def test_training_loss_that_is_not_the_plain_one_is_explained(tmp_path: Path) -> None:
    both = {"label_smoothing": 0.1, "class_weights": {"0": 1.0}}
    text = words(made(tmp_path / "both", [Run({"model": "resnet50"}, training=both)]))
    assert "The training loss is of labels smoothed by 0.1 and weighted by class; the validation loss is the plain" in text
    assert "plain cross-entropy" not in words(made(tmp_path / "none", [Run({"model": "resnet50"})]))


def test_tables_are_written_as_toml(tmp_path: Path) -> None:
    phases = [{"unfreeze": 0, "learning_rate": "find"}, {"unfreeze": "all", "learning_rate": 1e-07}, {}]
    run = Run({"model": "resnet50"}, params={"phases": phases, "weight_decay": None})
    results = read_results(branches(tmp_path, [run]))[0]
    told = tomllib.loads(reproduction.pipeline_file(results))
    assert told["stages"]["train"]["params"]["phases"] == phases
    assert "weight_decay" not in told["stages"]["train"]["params"]


def test_the_pipeline_file_sets_what_differs_by_an_axis(tmp_path: Path) -> None:
    runs = [
        Run({"model": "resnet50", "recipe": "a", "backend": "jax"}, backend="jax", params={"unfreeze": 8, "seed": 1}),
        Run({"model": "vgg16", "recipe": "a", "backend": "jax"}, model="vgg16", backend="jax", params={"unfreeze": 4, "seed": 1}),
        Run({"model": "resnet50", "recipe": "a", "backend": "tensorflow"}, params={"unfreeze": 8, "seed": 1}),
    ]
    results = read_results(branches(tmp_path, runs))[0]
    told = tomllib.loads(reproduction.pipeline_file(results))
    assert told["matrix"]["backend"] == ["jax", "tensorflow"] and "backend" not in told["pipeline"]
    assert [branch["name"] for branch in told["matrix"]["branch"]] == ["resnet50 a", "vgg16 a"]
    for branch, model, unfreeze in zip(told["matrix"]["branch"], ("resnet50", "vgg16"), (8, 4), strict=True):
        params = {name: stage.get("params", {}) for name, stage in told["stages"].items()}
        fields = {f"${{branch.{name}}}": value for name, value in branch.items()}
        assert fields.get(params["build"]["model"]) == model and fields.get(params["train"]["unfreeze"]) == unfreeze
        assert params["train"]["seed"] == 1 and params["ingest"]["seed"] == 7
    assert told["stages"]["report"]["gather"] is True


def test_what_is_not_set_in_every_branch_is_told_in_a_comment(tmp_path: Path) -> None:
    runs = [Run({"rate": "a"}, params={"weight_decay": 0.1}), Run({"rate": "b"}, params={"weight_decay": None})]
    text = reproduction.pipeline_file(read_results(branches(tmp_path, runs))[0])
    assert "# weight_decay = 0.1  (a)" in text and "weight_decay" not in str(tomllib.loads(text))


def test_how_far_a_result_can_be_had_again_is_told() -> None:
    def told(device: str, seed: int) -> Any:
        record = {"key": {"params": {"seed": seed}, "keras": {"device": device}}}
        return Result(1, Branch(axes={}, inputs={}, records={"train": record}))

    assert reproduction.determinism([told("cpu", 3), told("cpu", 4)]).startswith(
        "Seeds: train 3, train 4. Determinism: to the bit"
    )
    assert "up to rounding" in reproduction.determinism([told("cpu", 3), told("gpu", 3)])
