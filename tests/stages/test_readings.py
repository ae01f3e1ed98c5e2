"""What figures tell under the pointer stands where it is drawn, and says what was measured; the tables behind them say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from stages.evaluation.calibration import tell
from stages.reporting import calibration, figures, numbers, pareto, recipe, svg, tradeoff
from stages.reporting.palette import Palette
from stages.reporting.results import Result, read_results
from tests.stages.fake_artifacts import Data, Run, branches
from tests.stages.test_recipe_report import FOUND, PHASES

SVG = "{http://www.w3.org/2000/svg}"
COLORS = Palette(("ResNet50", "VGG16"))
HOSTILE = ("<script>alert(1)</script>", "a & b", "plain")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    runs = [
        Run({"model": "resnet50"}, moving_accuracy=0.3, training={"phases": PHASES}, seconds=100.0),
        Run({"model": "vgg16"}, model="vgg16", accuracy=0.8, seconds=40.0),
    ]
    read = read_results(branches(tmp_path_factory.mktemp("run"), runs, Data(classes=HOSTILE)))[0]
    read[0].metrics["calibration"] = tell(various(0), various(1))
    return read


def various(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of 100 images, none like another, and their labels."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(3), 100), rng.integers(0, 3, 100).astype(np.int32)


def places(drawing: str) -> list[tuple[tuple[float, float, float, float], str]]:
    """Left, right, top and bottom of every place of a figure, and its text."""
    found = []
    for rect in ElementTree.fromstring(drawing).findall(f"{SVG}g[@class='readings']/{SVG}rect"):
        x, y, width, height = (float(rect.get(name, "")) for name in ("x", "y", "width", "height"))
        found.append(((x, x + width, y, y + height), rect.findtext(f"{SVG}title") or ""))
    return found


def centres(drawing: str) -> np.ndarray:
    return np.array([((left + right) / 2, (top + bottom) / 2) for (left, right, top, bottom), _ in places(drawing)])


def vertices(drawing: str) -> Iterator[np.ndarray]:
    """The points of every path that is a curve."""
    for path in ElementTree.fromstring(drawing).iter(f"{SVG}path"):
        points = re.findall(r"[ML] (\S+) (\S+)", path.get("d", ""))
        if len(points) > 5 and "z" not in path.get("d", ""):
            yield np.array(points, float)


def marks(drawing: str) -> np.ndarray:
    """Where markers stand."""
    return np.array(
        [(float(use.get("x", "")), float(use.get("y", ""))) for use in ElementTree.fromstring(drawing).iter(f"{SVG}use")]
    )


def test_every_epoch_stands_where_its_curve_is(results: list[Result]) -> None:
    drawing = figures.learning_curves(results[1], COLORS)
    [curve, *_] = vertices(drawing)
    assert len(curve) == len(places(drawing)) == 8
    inner = slice(1, -1)  # the outer ones end with the axes
    np.testing.assert_allclose(centres(drawing)[inner, 0], curve[inner, 0], atol=0.1)
    history = results[1].history.iloc[4]
    assert places(drawing)[4][1].splitlines() == [
        "epoch 5: accuracy, loss",
        f"training {history['accuracy']:.4g}, {history['loss']:.4g}",
        f"validation {history['val_accuracy']:.4g}, {history['val_loss']:.4g}",
    ]
    assert "validation, re-estimated BatchNorm" in places(figures.learning_curves(results[0], COLORS))[0][1]


def test_epochs_reach_over_both_axes_without_a_gap(results: list[Result]) -> None:
    found = [box for box, _ in places(figures.learning_curves(results[1], COLORS))]
    curves = list(vertices(figures.learning_curves(results[1], COLORS)))
    assert all(top < min(curve[:, 1].min() for curve in curves) for _, _, top, _ in found)
    assert all(bottom > max(curve[:, 1].max() for curve in curves) for _, _, _, bottom in found)
    assert all(abs(before[1] - after[0]) < 0.15 for before, after in pairwise(found))


def training(results: list[Result]) -> pareto.Tradeoff:
    return pareto.tradeoff(results, pareto.COSTS[1])


def test_points_of_the_diagram_and_the_costs_stand_where_they_are_drawn(results: list[Result]) -> None:
    reliability = calibration.reliability(results[0], COLORS)
    assert len(places(reliability)) == 20
    costs = tradeoff.draw(training(results), COLORS)
    for drawing in (reliability, costs):
        drawn = marks(drawing)
        nearest = np.abs(centres(drawing)[:, None] - drawn[None]).max(axis=2).min(axis=1)
        assert nearest.max() < 0.1
    assert [text.splitlines()[0] for _, text in places(costs)] == ["1 resnet50", "2 vgg16"]
    assert centres(costs)[0, 0] > centres(costs)[1, 0]  # 100 s and 40 s
    assert all(right - left >= svg.REACH - 0.2 for (left, right, _, _), _ in places(costs))


def test_every_row_of_the_intervals_tells_its_branch(results: list[Result]) -> None:
    drawing = figures.intervals(results, COLORS)
    [(first, one), (second, two)] = places(drawing)
    assert first[3] == pytest.approx(second[2], abs=0.15)
    assert one.startswith("1 resnet50\n0.95 (") and two.startswith("2 vgg16\n0.80 (")
    points = marks(drawing)
    assert any(first[2] < y < first[3] for y in points[:, 1]) and any(second[2] < y < second[3] for y in points[:, 1])


def test_parts_of_a_branch_are_known_in_the_page_alone(results: list[Result]) -> None:
    drawing = figures.intervals(results, COLORS)
    page = ElementTree.fromstring(svg.inline(drawing, "intervals"))
    parts = [part.get("data-branches") for part in page.iter(f"{SVG}g") if part.get("data-branches")]
    assert sorted(parts) == ["1"] * 4 + ["2"] * 4
    ids = [element.get("id") for element in ElementTree.fromstring(drawing).iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_cells_of_the_confusion_matrix_tell_whole_names(results: list[Result]) -> None:
    found = {text: box for box, text in places(figures.confusion(results[1], COLORS))}
    counts = np.array(results[1].metrics["test"]["confusion"])
    assert len(found) == np.count_nonzero(counts)
    for row, truth in enumerate(HOSTILE):
        for column, said in enumerate(HOSTILE):
            if counts[row, column]:
                box = found[f"{truth}\nsaid to be {said}: {counts[row, column]} of {counts[row].sum()} images"]
                size = box[1] - box[0]
                origin = found[next(text for text in found if text.startswith(f"{HOSTILE[0]}\nsaid to be {HOSTILE[0]}"))]
                assert (box[0], box[2]) == pytest.approx((origin[0] + column * size, origin[2] + row * size), abs=0.3)


def test_rates_of_the_finder_follow_its_curve(results: list[Result]) -> None:
    drawing = recipe.finder_curve("finder", results[0], {"finder": FOUND}, COLORS)
    [curve, *_] = vertices(drawing)
    np.testing.assert_allclose(centres(drawing)[1:-1, 0], curve[1:-1, 0], atol=3)
    assert places(drawing)[0][1] == "learning rate 1e-07\nsmoothed loss 2"


def test_tables_behind_the_figures(results: list[Result]) -> None:
    first = results[0].metrics["test"]
    table = numbers.intervals(results)
    assert list(table.rows[0]) == [results[0], first["accuracy"], *first["accuracy_interval"], first["majority_accuracy"]]
    assert [row[1] for row in numbers.tradeoff(training(results)).rows] == [100.0, 40.0]
    assert len(numbers.calibration(results[0]).rows) == 20
    assert numbers.finder({"finder": FOUND}).rows[-1] == (FOUND["rates"][-1], 1.0)
    mistakes = numbers.mistakes(results[1]).rows
    counts = np.array(results[1].metrics["test"]["confusion"])
    assert sum(row[2] for row in mistakes) == counts.sum() - np.trace(counts)
    assert [row[2] for row in mistakes] == sorted((row[2] for row in mistakes), reverse=True)
    truth, said, images, share = mistakes[0]
    row = HOSTILE.index(str(truth))
    assert (images, share) == (counts[row, HOSTILE.index(str(said))], pytest.approx(images / counts[row].sum()))
    for one in (table, numbers.tradeoff(training(results)), numbers.calibration(results[0]), numbers.mistakes(results[1])):
        assert all(len(row) == len(one.columns) for row in one.rows)


def test_branch_without_a_measured_time_is_in_no_table_of_costs(tmp_path: Path) -> None:
    runs = [Run({"model": "resnet50"}), Run({"model": "vgg16"}, model="vgg16", measures={"train_seconds": None})]
    gathered = read_results(branches(tmp_path, runs))[0]
    assert [row[0].number for row in numbers.tradeoff(training(gathered)).rows] == [1]
