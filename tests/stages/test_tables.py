"""Tables and the verdict: what is said follows from the numbers, and the numbers equal scipy's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from stages.reporting import backends, summary, tables, wording
from stages.reporting.baseline import beats_majority
from stages.reporting.paired import Comparison, adjust, compare, mcnemar, paired_interval
from stages.reporting.results import Result, by_validation, read_results
from stages.reporting.trainings import alone
from stages.reporting.verdict import against, judge
from tests.stages.fake_artifacts import Data, Run, branches

FINDING = {
    "rule": "input-scale", "severity": "error", "title": "Wrong pixels", "cause": "They are.", "evidence": {"range": [0.0, 1.0]},
    "fix": 'stages.preprocess.params.scaling = "model"', "effect": None, "confidence": 0.9,
}  # fmt: skip


def results_of(folder: Path, *runs: Run, data: Data | None = None) -> list[Result]:
    return read_results(branches(folder, runs, data))[0]


def two(folder: Path, first: float, second: float, test: int = 400) -> list[Result]:
    runs = [Run({"model": "resnet50"}, accuracy=first), Run({"model": "vgg16"}, model="vgg16", accuracy=second)]
    return results_of(folder, *runs, data=Data(test=test, validation=test))


def compared(first: Result, second: Result) -> Comparison | None:
    return compare(*alone([first, second]))


def answer(result: Result, split: str, right: list[bool]) -> None:
    """Let the branch be right on exactly these images of a split, the first class wrong for all others."""
    file = result.folder("evaluate") / "predictions.csv"
    table = pd.read_csv(file, dtype={"label": str, "predicted": str})
    chosen = table.index[table["split"] == split]
    truth = table.loc[chosen, "label"]
    table.loc[chosen, "predicted"] = np.where(right, truth, truth.map({"a": "b", "b": "a"}))
    table.to_csv(file, index=False)


def test_mcnemar_is_the_exact_binomial_test_of_discordant_images() -> None:
    assert mcnemar(3, 11) == pytest.approx(binomtest(3, 14, 0.5).pvalue)
    assert mcnemar(3, 11) == mcnemar(11, 3)
    assert mcnemar(0, 0) == 1.0


def test_interval_of_a_paired_difference_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    only_first, only_second, images = 0.06, 0.03, 200
    draws = rng.multinomial(images, [only_first, only_second, 1 - only_first - only_second], size=2000)
    counts, times = np.unique(draws[:, :2], axis=0, return_counts=True)
    intervals = [paired_interval(int(b), int(c), images) for b, c in counts]
    covered = [low <= only_first - only_second <= high for low, high in intervals]
    assert 0.94 <= np.average(covered, weights=times) <= 0.99


def test_interval_of_a_difference_never_contradicts_the_test() -> None:
    for only_first in range(40):
        for only_second in range(40):
            low, high = paired_interval(only_first, only_second, 270)
            assert (low > 0 or high < 0) == (mcnemar(only_first, only_second) < 0.05)


def test_comparison_counts_images_that_one_alone_got_right(tmp_path: Path) -> None:
    data = Data(classes=("a", "b"), test=10, validation=10)
    first, second = results_of(tmp_path, Run({"seed": 1}), Run({"seed": 2}), data=data)
    answer(first, "test", [True] * 8 + [False] * 2)
    answer(second, "test", [True] * 5 + [False] * 4 + [True])
    pair = compared(first, second)
    assert pair is not None
    assert (pair.images, pair.only_first, pair.only_second) == (10, 3, 1)
    assert pair.difference == pytest.approx(0.2)


def test_comparison_pairs_images_by_path_whatever_their_order(tmp_path: Path) -> None:
    first, second = two(tmp_path, 0.9, 0.9)
    plain = compared(first, second)
    file = second.folder("evaluate") / "predictions.csv"
    pd.read_csv(file, dtype=str).sample(frac=1, random_state=0).to_csv(file, index=False)
    shuffled = compared(first, read_results([second.branch])[0][0])
    assert plain is not None and shuffled is not None
    assert (plain.only_first, plain.only_second) == (shuffled.only_first, shuffled.only_second)


def test_holm_never_lowers_p_and_keeps_the_order(tmp_path: Path) -> None:
    runs = [Run({"seed": i}, accuracy=0.95 - 0.04 * i) for i in range(4)]
    chosen, *others = results_of(tmp_path, *runs, data=Data(test=300))
    raw = [pair for other in others if (pair := compared(chosen, other))]
    held = adjust(raw)
    assert all(after.p >= before.p for before, after in zip(raw, held, strict=True))
    assert min(held, key=lambda pair: pair.p).p == pytest.approx(min(1.0, 3 * min(pair.p for pair in raw)))


def test_a_clear_winner_is_named(tmp_path: Path) -> None:
    verdict = judge(two(tmp_path, 0.97, 0.7))
    assert verdict.outcome == "wins"
    assert summary.headline(verdict) == "ResNet50 wins against VGG16."


def test_no_winner_where_the_test_set_shows_none(tmp_path: Path) -> None:
    verdict = judge(two(tmp_path, 0.95, 0.945, test=100))
    assert verdict.outcome == "tie"
    assert summary.headline(verdict) == "No difference this test set can show between ResNet50 and VGG16."
    assert any("exact McNemar" in sentence for sentence in summary.sentences(verdict))


def test_chosen_on_validation_even_if_test_says_otherwise(tmp_path: Path) -> None:
    runs = [Run({"model": "resnet50"}, accuracy=0.9), Run({"model": "vgg16"}, model="vgg16", accuracy=0.8)]
    first, second = results_of(tmp_path, *runs, data=Data(classes=("a", "b"), test=100))
    answer(first, "test", [True] * 60 + [False] * 40)
    answer(second, "test", [True] * 95 + [False] * 5)
    verdict = judge([first, second])
    assert verdict.outcome == "reversed"
    assert summary.headline(verdict).startswith("Validation chose ResNet50, but on the test images VGG16")


def test_nothing_wins_that_does_not_beat_the_majority_class(tmp_path: Path) -> None:
    runs = [Run({"model": "resnet50"}, accuracy=0.5), Run({"model": "vgg16"}, model="vgg16", accuracy=0.45)]
    results = results_of(tmp_path, *runs, data=Data(classes=("a", "b")))
    assert not any(beats_majority(result) for result in results)
    verdict = judge(results)
    assert verdict.outcome == "chance"
    assert summary.headline(verdict) == "Nothing is shown to beat always answering the most frequent class."


def test_the_majority_class_is_beaten_on_the_same_images(tmp_path: Path) -> None:
    [result] = results_of(tmp_path, Run({}), data=Data(classes=("a", "b"), test=200))
    majority = (result.test["label"] == result.metrics["majority_class"]).to_numpy()
    few = np.flatnonzero(~majority)[:6]
    for gained, shown in ((few, True), (few[:5], False)):  # exact McNemar: 6 of 6 discordant images show it, 5 of 5 do not
        result.test["correct"] = np.where(np.isin(np.arange(200), gained), True, majority)
        assert beats_majority(result) is shown


def test_guesses_beat_the_majority_class_as_seldom_as_the_test_says(tmp_path: Path) -> None:
    [result] = results_of(tmp_path, Run({}), data=Data(classes=("a", "b"), test=200))
    rng = np.random.default_rng(0)
    beaten = []
    for _ in range(800):
        result.test["label"] = np.where(rng.random(200) < 0.5, "a", "b")
        result.test["correct"] = rng.random(200) < 0.5
        beaten.append(beats_majority(result))
    assert np.mean(beaten) < 0.04  # 0.025 is half of the two-sided level


def test_a_network_that_beats_the_majority_class_is_named_though_validation_chose_others(tmp_path: Path) -> None:
    runs = [Run({"model": "resnet50", "rate": rate}, accuracy=accuracy) for rate, accuracy in ((1, 0.6), (2, 0.55), (3, 0.5))]
    results = results_of(tmp_path, *runs, data=Data(classes=("a", "b"), test=200))
    for result, right in zip(results, (100, 100, 190), strict=True):
        result.test["correct"] = np.arange(200) < right
        result.test["label"] = np.where(np.arange(200) % 2, "a", "b")
    verdict = judge(results)
    assert verdict.outcome == "chance" and [group.number for group in verdict.above] == [3]
    expected = (
        "Validation chose ResNet50 (rate 1), but only ResNet50 (rate 3) is shown to beat always answering the most frequent"
    )
    assert summary.headline(verdict) == f"{expected} class."


def test_a_rival_without_common_test_images_does_not_hide_what_the_others_show(tmp_path: Path) -> None:
    runs = [Run({"model": name}, model=model, accuracy=accuracy) for name, model, accuracy in (
        ("resnet50", "resnet50", 0.97), ("vgg16", "vgg16", 0.7))]  # fmt: skip
    first, second = results_of(tmp_path / "a", *runs)
    [third] = results_of(tmp_path / "b", Run({"model": "other"}, accuracy=0.6), data=Data(name="more"))
    third.pixels["name"] = "Other"
    object.__setattr__(third, "number", 3)
    third.test.index = "other/" + third.test.index
    third.__dict__["tested"] = b"other"
    verdict = judge([first, second, third])
    assert verdict.outcome == "wins" and [group.model for group in verdict.apart] == ["Other"]
    assert summary.headline(verdict) == "ResNet50 wins against VGG16."
    told = summary.sentences(verdict)
    assert any(sentence.endswith("shares no test images with ResNet50: not compared.") for sentence in told)
    assert any("a difference (exact McNemar" in sentence for sentence in told)


def test_one_branch_is_told_without_a_rival(tmp_path: Path) -> None:
    verdict = judge(results_of(tmp_path, Run({})))
    assert verdict.outcome == "single"
    assert verdict.rivals == []
    assert verdict.chosen.label == "resnet50"


def test_one_model_is_compared_with_its_second_best_branch(tmp_path: Path) -> None:
    runs = [Run({"recipe": name}, accuracy=accuracy) for name, accuracy in (("a", 0.5), ("b", 0.95), ("c", 0.9))]
    verdict = judge(results_of(tmp_path, *runs))
    assert verdict.chosen.axes == {"recipe": "b"}
    assert [rival.second.lead.axes for rival in verdict.rivals] == [{"recipe": "c"}]


def test_ties_on_validation_are_broken_by_log_loss_then_order(tmp_path: Path) -> None:
    results = results_of(tmp_path, Run({"seed": 1}, accuracy=0.9), Run({"seed": 2}, accuracy=0.9))
    for result, loss in zip(results, (0.5, 0.4), strict=True):
        result.metrics["validation"].update(accuracy=0.9, log_loss=loss)
    assert [result.number for result in by_validation(results)] == [2, 1]


def test_table_has_one_row_a_branch_with_axes_and_named_columns(tmp_path: Path) -> None:
    table = tables.report_table(two(tmp_path, 0.95, 0.9))
    assert list(table["model"]) == ["resnet50", "vgg16"]
    expected = [
        "test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_macro_f1", "test_log_loss", "validation_accuracy",
        "train_accuracy", "parameters", "trainable_parameters", "train_seconds", "images_per_second", "peak_memory_bytes",
        "majority_accuracy", "epochs_run", "epoch_chosen", "findings",
    ]  # fmt: skip
    assert set(expected) <= set(table.columns)
    assert (table["test_accuracy_low"] < table["test_accuracy"]).all()


def test_no_axis_is_lost_to_a_column_of_its_name(tmp_path: Path) -> None:
    columns = list(tables.report_table(results_of(tmp_path / "plain", Run({}))).columns)
    axes = dict.fromkeys([*columns, "axis_network", "free"], "an axis")
    table = tables.report_table(results_of(tmp_path / "named", Run(axes)))
    assert set(columns) <= set(table.columns) and table.columns.is_unique
    renamed = [f"axis_{column}" for column in columns if column != "network"] + ["axis_axis_network"]
    assert {column for column in table if table[column][0] == "an axis"} == {"axis_network", "free", *renamed}


@pytest.mark.parametrize("name", ["trainings", "mean_test_accuracy"])
def test_no_axis_is_lost_to_a_column_that_only_several_seeds_have(tmp_path: Path, name: str) -> None:
    runs = [Run({name: value, "seed": i}, params={"seed": i, "recipe": value}) for value in ("a", "b") for i in (1, 2)]
    table = tables.report_table(results_of(tmp_path, *runs))
    assert list(table[f"axis_{name}"]) == ["a", "a", "b", "b"] and list(table["trainings"]) == [2, 2, 2, 2]
    assert list(table["seed"]) == [1, 2, 1, 2]


def test_equal_findings_of_branches_stand_together(tmp_path: Path) -> None:
    other = FINDING | {"rule": "small-validation", "severity": "note", "title": "Few images"}
    results = results_of(tmp_path, Run({"seed": 1}, findings=[other, FINDING]), Run({"seed": 2}, findings=[FINDING]))
    found = tables.findings(results)
    assert [(group.record["rule"], len(group.seen)) for group in found] == [("input-scale", 2), ("small-validation", 1)]


def test_missing_combinations_of_the_axes_are_named(tmp_path: Path) -> None:
    axes = [{"model": m, "recipe": r} for m, r in (("resnet50", "question"), ("resnet50", "cure"), ("vgg16", "cure"))]
    assert tables.missing_combinations(results_of(tmp_path, *map(Run, axes))) == ["vgg16,question"]


def test_of_very_many_missing_combinations_the_first_are_named_and_the_others_counted(tmp_path: Path) -> None:
    results = results_of(tmp_path, *(Run({f"x{axis}": i for axis in range(6)}) for i in range(8)))
    missing = tables.missing_combinations(results)
    assert missing[0] == ",".join(["0"] * 5 + ["1"]) and len(missing) == tables.NAMED + 1
    assert missing[-1] == f"{wording.count(8**6 - 8 - tables.NAMED)} more combinations"


def test_a_branch_without_an_artifact_is_named_and_left_out(tmp_path: Path) -> None:
    whole, broken = branches(tmp_path, [Run({"seed": 1}), Run({"seed": 2})])
    del broken.inputs["evaluate"]  # type: ignore[attr-defined]
    results, incomplete = read_results([broken, whole])
    assert [result.label for result in results] == ["1"]
    assert incomplete == ["2: nothing from evaluate"]


def test_reestimation_tells_both_accuracies_of_the_chosen_epoch(tmp_path: Path) -> None:
    [told] = tables.reestimations(results_of(tmp_path, Run({}, accuracy=0.96, moving_accuracy=0.21)))
    assert (round(told.moving, 2), round(told.reestimated, 2)) == (0.21, 0.96)
    assert "0.21 on validation (epoch 8), after re-estimation 0.96" in summary.batchnorm_story(told)


def test_backends_are_set_side_by_side(tmp_path: Path) -> None:
    axes = [{"model": m, "backend": b} for m in ("resnet50", "vgg16") for b in ("tensorflow", "jax")]
    groups = backends.by_backend(results_of(tmp_path, *(Run(a, a["model"], a["backend"]) for a in axes)))
    assert [[result.backend for result in group] for group in groups] == [["TensorFlow", "JAX"]] * 2


def test_title_names_models_data_and_backends(tmp_path: Path) -> None:
    assert tables.title(two(tmp_path, 0.9, 0.9)) == "ResNet50 and VGG16 on digits, TensorFlow"


def test_images_that_branches_do_not_share_are_not_compared(tmp_path: Path) -> None:
    one, other = results_of(tmp_path / "one", Run({"d": 1})) + results_of(tmp_path / "two", Run({"d": 2}))
    other.test.index = "other/" + other.test.index
    assert compared(one, other) is None
    assert against(*alone([one]), alone([other])) == []


@pytest.mark.parametrize(("images", "digits"), [(30, 2), (270, 2), (1000, 2), (10_000, 3), (1_000_000, 4)])
def test_decimals_follow_from_the_number_of_images(images: int, digits: int) -> None:
    assert wording.decimals(images) == digits


def test_a_share_that_is_not_whole_never_reads_as_whole() -> None:
    assert wording.fixed(0.9996, 2) == "0.9996"
    assert wording.fixed(1.0, 2) == "1.00"
    assert wording.fixed(-0.5, 2) == "\N{MINUS SIGN}0.50"


def test_a_limit_beside_zero_shows_on_which_side_it_lies() -> None:
    assert wording.difference(0.041, -0.0003, 0.079, 3) == f"+0.0410 ({wording.MINUS}0.0003 to +0.0790)"
    assert wording.difference(0.041, 0.002, 0.079, 3) == "+0.041 (+0.002 to +0.079)"


def test_control_characters_of_names_are_shown_not_sent() -> None:
    assert wording.printable("a\x07b\u202ec") == "a\\u0007b\\u202ec"
