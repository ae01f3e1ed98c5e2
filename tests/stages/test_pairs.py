"""Every two branches: differences of weighted metrics equal scikit-learn's, their intervals SciPy's, corrected together."""

from __future__ import annotations

import csv
import io
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn.metrics

from stages.reporting import contrast, pairs
from stages.reporting.paired import mcnemar
from stages.reporting.resampled import Metrics, Resampled, with_intervals
from stages.reporting.results import Result, by_validation, read_results
from stages.reporting.trainings import alone, ranked
from stages.reporting.verdict import against
from tests.stages.fake_artifacts import Data, Run, branches

DATA = Data(classes=tuple("abcde"), test=150, validation=150)


def results(folder: Path, *accuracies: float, seeds: int = 1) -> list[Result]:
    made = [
        Run({"recipe": f"r{i}", "seed": seed}, accuracy=a - 0.01 * seed, params={"seed": seed, "learning_rate": i})
        for i, a in enumerate(accuracies)
        for seed in range(seeds)
    ]
    return read_results(branches(folder, made, DATA))[0]


def vary_losses(result: Result, seed: int) -> None:
    result.test["loss"] = np.random.default_rng(seed).exponential(0.5, len(result.test))


def test_metrics_of_weighted_images_equal_scikit_learns(tmp_path: Path) -> None:
    found = results(tmp_path, 0.9, 0.6)
    weights = np.random.default_rng(0).integers(0, 4, (6, 150)).astype(float)
    told = Metrics(found).of(weights)
    for place, result in enumerate(found):
        label, predicted = result.test["label"], result.test["predicted"]
        for draw, weight in enumerate(weights):
            expected = [
                sklearn.metrics.accuracy_score(label, predicted, sample_weight=weight),
                np.average(result.test["loss"], weights=weight),
                sklearn.metrics.f1_score(label, predicted, average="macro", sample_weight=weight),
            ]
            assert told[:, place, draw] == pytest.approx(expected)


def test_a_class_that_is_neither_there_nor_named_does_not_count(tmp_path: Path) -> None:
    first, second = results(tmp_path, 0.9, 0.6)
    second.test["predicted"], second.test["correct"] = "elsewhere", False
    told = Metrics([first, second]).of(np.ones((1, 150)))[2, :, 0]
    names = [table["predicted"] for table in (first.test, second.test)]
    assert told == pytest.approx([sklearn.metrics.f1_score(first.test["label"], name, average="macro") for name in names])


def test_intervals_of_differences_are_those_of_scipys_paired_bootstrap(tmp_path: Path) -> None:
    found = results(tmp_path, 0.9, 0.6)
    for seed, result in enumerate(found):
        vary_losses(result, seed)
    told = Resampled(found).differences(*found)
    tables = [result.test for result in found]
    for name, column in (("accuracy", "correct"), ("log_loss", "loss")):
        values = [table[column].to_numpy(float) for table in tables]

        def difference(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
            return np.mean(one, axis=axis) - np.mean(other, axis=axis)

        expected = scipy.stats.bootstrap(
            values, difference, paired=True, vectorized=True, n_resamples=9999, method="BCa", random_state=0
        ).confidence_interval
        assert told[name].value == pytest.approx(values[0].mean() - values[1].mean())
        assert told[name].interval == pytest.approx((expected.low, expected.high), abs=0.015)


def test_every_two_branches_are_compared_once_and_corrected_together(tmp_path: Path) -> None:
    found = results(tmp_path, 0.9, 0.7, 0.95, 0.6)
    told = pairs.compared(found)
    assert told.repeated is False and told.branches is told.networks
    order = [result.number for result in by_validation(found)]
    assert [(pair.first.number, pair.second.number) for pair in told.branches.all] == list(combinations(order, 2))
    alone_p = [mcnemar(int(pair.only_first), int(pair.only_second)) for pair in told.branches.all]
    assert [pair.p_alone for pair in told.branches.all] == pytest.approx(alone_p)
    expected = np.empty(6)
    running = 0.0
    for rank, place in enumerate(np.argsort(alone_p, kind="stable")):
        running = max(running, min(1.0, alone_p[place] * (6 - rank)))
        expected[place] = running
    assert [pair.p for pair in told.branches.all] == pytest.approx(expected)
    assert {pair.family for pair in told.branches.all} == {6}
    assert all(set(pair.more) == {"accuracy", "log_loss", "macro_f1"} for pair in told.branches.all)


def test_the_bootstrap_agrees_with_the_interval_that_goes_with_mcnemars_test(tmp_path: Path) -> None:
    for pair in pairs.compared(results(tmp_path, 0.9, 0.7, 0.95)).branches.all:
        interval = pair.more["accuracy"].interval
        assert pair.more["accuracy"].value == pytest.approx(pair.difference)
        assert interval is not None and interval == pytest.approx(pair.interval, abs=0.025)


def test_networks_of_several_seeds_come_first_and_every_two_trainings_after_them(tmp_path: Path) -> None:
    told = pairs.compared(results(tmp_path, 0.9, 0.7, seeds=3))
    assert told.repeated
    assert [(pair.trainings, pair.family) for pair in told.networks.all] == [(3, 1)]
    assert [(pair.trainings, pair.family) for pair in told.branches.all] == [(1, 15)] * 15
    rows = list(csv.DictReader(io.StringIO(told.csv)))
    assert [row["trainings"] for row in rows] == ["3"] + ["1"] * 15
    assert (rows[0]["first"], rows[0]["first_branches"], rows[0]["macro_f1_difference"]) == ("r0", "1\N{EN DASH}3", "")


def test_pairs_csv_tells_what_was_compared(tmp_path: Path) -> None:
    told = pairs.compared(results(tmp_path, 0.9, 0.89))
    [pair] = told.branches.all
    [row] = list(csv.DictReader(io.StringIO(told.csv)))
    assert float(row["accuracy_difference"]) == pytest.approx(pair.difference)
    assert (float(row["accuracy_difference_low"]), float(row["accuracy_difference_high"])) == pytest.approx(pair.interval)
    assert int(row["only_first_right"]) - int(row["only_second_right"]) == pytest.approx(150 * pair.difference)
    assert float(row["p"]) == pytest.approx(pair.p_alone)
    assert int(float(row["test_images_needed"])) == contrast.images_needed(pair)
    assert float(row["log_loss_difference_low"]) <= float(row["log_loss_difference"]) <= float(row["log_loss_difference_high"])
    assert float(row["accuracy_difference_bootstrap_low"]) < pair.difference


def test_the_matrix_shows_row_minus_column(tmp_path: Path) -> None:
    told = pairs.compared(results(tmp_path, 0.95, 0.94, 0.5)).branches
    first, second, last = told.groups
    assert told.legible
    difference = next(pair for pair in told.all if pair.first is first and pair.second is last).difference
    assert told.cell(first, last) == (f"+{difference:.3f}".replace("0.", ".", 1), "more")
    assert told.cell(last, first) == (f"\N{MINUS SIGN}{difference:.3f}".replace("0.", ".", 1), "less")
    assert told.cell(second, first)[1] == told.cell(first, second)[1] == "none" and told.cell(first, first) == ("", "none")


def test_branches_tested_on_other_images_have_no_common_resamples(tmp_path: Path) -> None:
    one, other, third = results(tmp_path, 0.9, 0.8, 0.7)
    other.__dict__["test"] = other.test.iloc[:100]
    found = {(pair.first.number, pair.second.number): pair for pair in pairs.every_two(alone([one, other, third])).all}
    assert found[1, 2].images == found[2, 3].images == 100 and not found[1, 2].more
    assert found[1, 3].images == 150 and set(found[1, 3].more) == {"accuracy", "log_loss", "macro_f1"}


def test_images_with_another_label_are_not_compared(tmp_path: Path) -> None:
    one, other = results(tmp_path, 0.9, 0.8)
    other.test.iloc[:7, other.test.columns.get_loc("label")] = "f"
    [pair] = pairs.every_two(alone([one, other])).all
    assert pair.images == 143 and not pair.more


def test_of_very_many_branches_the_best_on_validation_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MOST", 3)
    monkeypatch.setattr(pairs, "LEGIBLE", 4)
    found = results(tmp_path, 0.6, 0.9, 0.8, 0.95, 0.7)
    told = pairs.compared(found)
    assert [group.number for group in told.branches.groups] == [4, 2, 3] and told.branches.left_out == 2
    assert len(told.branches.all) == 3 and told.branches.legible
    monkeypatch.setattr(pairs, "LEGIBLE", 2)
    assert not told.branches.legible and not told.in_the_page
    assert len(against(ranked(found)[0], ranked(found))) == 4


def test_many_pairs_are_listed_from_the_closest_rival_on(tmp_path: Path) -> None:
    told = pairs.compared(results(tmp_path, 0.95, 0.9, 0.92, 0.7, 0.5, 0.85)).branches
    assert len(told.all) == 15
    assert [pair.second.label for pair in told.listed] == ["r2,0", "r1,0", "r5,0", "r3,0", "r4,0"]
    assert {pair.first.label for pair in told.listed} == {"r0,0"}


def test_a_loss_that_is_no_number_is_not_compared(tmp_path: Path) -> None:
    first, second = results(tmp_path, 0.9, 0.8)
    first.test.loc[first.test.index[0], "loss"] = np.nan
    [pair] = with_intervals(pairs.every_two(alone([first, second])).all)
    assert set(pair.more) == {"accuracy", "macro_f1"}
    assert contrast.contrast(pair.more.get("log_loss")) == "\N{EN DASH}"


def test_a_difference_of_nothing_says_what_would_have_been_shown(tmp_path: Path) -> None:
    first, second = results(tmp_path, 0.9, 0.9)
    second.test["correct"] = first.test["correct"]
    [pair] = pairs.every_two(alone([first, second])).all
    told = contrast.comparison(pair)
    assert "A difference of 0.052 or more would have been shown (power 0.8 at the 5% level" in told
    assert contrast.images_to_show(pair) == "\N{EN DASH}"
    assert pairs.Pairs([pair.first, pair.second], [pair]).cell(pair.second, pair.first) == (".000", "none")


def test_a_difference_that_is_not_shown_says_how_many_images_would_show_it(tmp_path: Path) -> None:
    first, second = results(tmp_path, 0.9, 0.9)
    right = pd.Series([True] * 140 + [False] * 10, index=first.test.index)
    first.test["correct"], second.test["correct"] = right, right.shift(4, fill_value=False) & (np.arange(150) > 7)
    [pair] = pairs.every_two(alone([first, second])).all
    assert (pair.only_first, pair.only_second) == (8, 4)
    told = contrast.comparison(pair)
    assert "no difference that this test set can show" in told
    assert "To show a difference of this size takes about 890 test images" in told and "Connor 1987" in told
