"""Accuracy against cost: who is dominated, how it is drawn, and that no label hides another."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.reporting import pareto, placing, tradeoff
from stages.reporting.palette import Palette
from stages.reporting.pareto import not_dominated
from stages.reporting.results import Result, read_results
from tests.stages.fake_artifacts import Run, branches

COLORS = Palette(("ResNet50", "VGG16"))
SVG = "{http://www.w3.org/2000/svg}"
few = st.integers(0, 6).map(float)  # so that equal values are frequent
anywhere = st.floats(-1e6, 1e6)


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """At least as good in both, and better in one: less cost, more quality."""
    as_good = one[0] <= other[0] and one[1] >= other[1]
    return as_good and (one[0] < other[0] or one[1] > other[1])


@settings(deadline=None)
@given(st.lists(st.tuples(few, few) | st.tuples(anywhere, anywhere), max_size=30))
def test_the_front_is_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    kept = not_dominated(points)
    assert sorted(kept) == [i for i, point in enumerate(points) if not any(dominates(other, point) for other in points)]
    assert [points[i][0] for i in kept] == sorted(points[i][0] for i in kept)


def results_of(folder: Path, *runs: Run) -> list[Result]:
    return read_results(branches(folder, runs))[0]


def test_branches_are_weighed_by_each_cost_that_several_tell(tmp_path: Path) -> None:
    runs = [
        Run({"seed": 1}, accuracy=0.95, seconds=60.0, latency=0.004),
        Run({"seed": 2}, accuracy=0.9, seconds=50.0, latency=0.004),
        Run({"seed": 3}, accuracy=0.9, seconds=70.0, latency=None),
    ]
    latency, training = pareto.tradeoffs(results_of(tmp_path, *runs))
    assert [(branch.result.number, branch.cost) for branch in latency.priced] == [(1, 4.0), (2, 4.0)]
    assert ([branch.result.number for branch in latency.best], latency.absent) == ([1], [3])
    assert [(branch.result.number, branch.cost) for branch in training.best] == [(2, 50.0), (1, 60.0)]
    assert training.absent == []


def test_what_one_branch_alone_tells_is_no_tradeoff(tmp_path: Path) -> None:
    results = results_of(tmp_path, Run({"seed": 1}, latency=None), Run({"seed": 2}))
    assert [told.cost.name for told in pareto.tradeoffs(results)] == ["costs-training"]
    assert pareto.tradeoffs(results[1:]) == []


def drawn(told: pareto.Tradeoff) -> list[str]:
    """The texts of the figure."""
    root = ElementTree.fromstring(tradeoff.draw(told, COLORS))
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def many(folder: Path, number: int, **settings: Any) -> list[Result]:
    """Branches of two networks in a cloud; with `settings` all alike."""
    rng = np.random.default_rng(2)
    runs = []
    for seed in range(number):
        varied = {"accuracy": float(rng.uniform(0.9, 0.97)), "seconds": float(rng.uniform(50, 90)), "latency": 0.012} | settings
        runs.append(Run({"seed": seed}, model=("resnet50", "vgg16")[seed % 2], **varied))
    return results_of(folder, *runs)


def boxes(told: pareto.Tradeoff, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the figure's labels lie, the room they have, and its markers."""
    seen: list[Any] = []
    place = placing.place

    def noted(points: Any, sizes: Any, room: Any, solid: Any, thin: Any) -> Any:
        middles = place(points, sizes, room, solid, thin)
        seen.append((placing.around(middles, sizes), room, solid))
        return middles

    monkeypatch.setattr(placing, "place", noted)
    tradeoff.draw(told, COLORS)
    [found] = seen
    return found


def shared(one: np.ndarray, other: np.ndarray) -> float:
    """The area that two boxes have in common."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    return float(np.prod(sides.clip(0)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {"accuracy": 0.95}, {"accuracy": 0.95, "seconds": 60.0}], ids=["cloud", "line", "point"]
)
def test_labels_of_24_branches_hide_nothing(tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for told in pareto.tradeoffs(many(tmp_path, 24, **settings)):
        labels, [room], markers = boxes(told, monkeypatch)
        assert (len(labels), len(markers)) == (24, 24)
        assert not any(shared(one, other) for one, other in combinations(labels, 2))
        assert not any(shared(label, marker) for label in labels for marker in markers)
        assert (labels[:, :2] >= room[:2]).all() and (labels[:, 2:] <= room[2:]).all()
        monkeypatch.undo()


@pytest.mark.slow
def test_every_branch_is_labelled_where_there_is_room_and_else_the_front(tmp_path: Path) -> None:
    results = many(tmp_path, pareto.NUMBERED + 1)
    [_, told] = pareto.tradeoffs(results[:-1])
    assert {str(number) for number in range(1, pareto.NUMBERED + 1)} <= set(drawn(told))
    [_, told] = pareto.tradeoffs(results)
    labels = [text for text in drawn(told) if re.fullmatch("[0-9]{1,2}", text)]
    numbers = [str(branch.result.number) for branch in told.best]
    assert labels[-len(numbers) :] == numbers  # before them come those of the axis
    assert len(labels) < pareto.NUMBERED


def test_dominated_branches_are_hollow(tmp_path: Path) -> None:
    results = results_of(tmp_path, Run({"seed": 1}, accuracy=0.96), Run({"seed": 2}, model="vgg16", accuracy=0.9))
    for told in pareto.tradeoffs(results):
        root = ElementTree.fromstring(tradeoff.draw(told, COLORS))
        markers = [use.get("style", "") for use in root.iter(f"{SVG}use")]
        [best], [other] = ([style for style in markers if COLORS.color(name) in style] for name in ("ResNet50", "VGG16"))
        assert f"fill: {COLORS.color('ResNet50')}" in best
        assert "fill-opacity: 0" in other
        assert {"not dominated", "dominated", f"{told.cost.words}, {told.cost.unit}"} <= set(drawn(told))


def test_the_legend_names_dominated_branches_only_where_there_are_some(tmp_path: Path) -> None:
    fast, good = Run({"seed": 1}, accuracy=0.9, latency=0.01), Run({"seed": 2}, accuracy=0.95, latency=0.02)
    latency, training = pareto.tradeoffs(results_of(tmp_path, fast, good))
    assert "dominated" not in drawn(latency)
    assert "dominated" in drawn(training)


@pytest.mark.parametrize(("slow", "ticks"), [(0.05, {"0", "20", "40"}), (0.5, {"20", "100", "500"}), (50.0, {"100", "10000"})])
def test_the_cost_is_logarithmic_where_branches_differ_tenfold(tmp_path: Path, slow: float, ticks: set[str]) -> None:
    fast, other = Run({"seed": 1}, accuracy=0.9, latency=0.01), Run({"seed": 2}, accuracy=0.95, latency=slow)
    [latency, _] = pareto.tradeoffs(results_of(tmp_path, fast, other))
    assert ticks <= set(drawn(latency))


def placed(points: np.ndarray, thin: np.ndarray) -> np.ndarray:
    """Middles of labels of 8 by 8 beside markers of 6 by 6."""
    room, solid = np.array([[0.0, 0.0, 100.0, 100.0]]), placing.around(points, (6, 6))
    return placing.place(points, np.full((len(points), 2), 8.0), room, solid, thin)


def test_a_label_is_nearer_to_its_own_point_than_to_others() -> None:
    points = np.array([[50.0, 50.0], [66.2, 50.0]])  # right of the first there is room, but nearer to the second
    distances = np.linalg.norm(placed(points, np.empty((0, 4)))[:, None] - points[None], axis=-1)
    assert distances[0, 0] < distances[0, 1] and distances[1, 1] < distances[1, 0]


def test_a_label_goes_around_a_line() -> None:
    point, line = np.array([[50.0, 50.0]]), np.array([[55.0, 0.0, 56.0, 100.0]])
    [label] = placing.around(placed(point, line), (8, 8))
    assert not shared(label, line[0])
    assert np.linalg.norm(label.reshape(2, 2).mean(axis=0) - point) < 10


def test_the_way_to_a_label_crosses_no_other_label() -> None:
    points = np.full((2, 2), 50.0)
    corridor = np.array([[0.0, 44.0, 100.0, 56.0]])
    solid = np.vstack([placing.around(points, (6, 6)), [[36.0, 44.0, 46.0, 56.0]]])
    near, far = placing.place(points, np.full((2, 2), 8.0), corridor, solid, np.empty((0, 4)))
    assert near == pytest.approx([59, 50])
    assert far == pytest.approx([29, 50])  # to the right it is no farther, but behind the other label
