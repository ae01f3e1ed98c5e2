"""Several seeds or folds: what is one network, how it is chosen, told and compared; the two-level model against hand
calculations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest, t

from kpipe.stage import Branch
from stages.reporting import contrast, scores, summary, tables, tested
from stages.reporting.paired import compare, paired_test
from stages.reporting.results import Result, read_results
from stages.reporting.trainings import Group, groups, ranked
from stages.reporting.two_level import critical, two_level
from stages.reporting.verdict import judge
from tests.stages.fake_artifacts import Data, Run, branches

DATA = Data(test=200, validation=200)
GOOD, POOR = (0.96, 0.95, 0.97, 0.96, 0.96), (0.7, 0.72, 0.71, 0.7, 0.7)  # accuracies of trainings


def runs(*accuracies: float, model: str = "resnet50") -> list[Run]:
    return [
        Run({"model": model, "seed": seed}, model=model, accuracy=accuracy, params={"seed": seed})
        for seed, accuracy in enumerate(accuracies, 1)
    ]


def in_folds(*accuracies: float, model: str = "resnet50", seed: int | None = None) -> list[Run]:
    """A training of every fold, or, with a seed, one of those of another axis."""
    axes, params = ({}, {}) if seed is None else ({"seed": seed}, {"seed": seed})
    return [
        Run({"model": model, "fold": fold} | axes, model=model, accuracy=accuracy, params={"fold": fold} | params)
        for fold, accuracy in enumerate(accuracies)
    ]


def validated_in_folds(found: list[Result]) -> list[Result]:
    """The same results, each with validation images of its own, as folds have them."""
    for result in found:
        table = result.predictions
        own = (table["split"] == "test") | (np.arange(len(table)) % 5 == result.axes["fold"])
        result.__dict__["predictions"] = table[own]
        result.metrics["validation"]["images"] = int((own & (table["split"] == "validation")).sum())
    return found


def read(gathered: list[Branch]) -> list[Result]:
    return read_results(gathered)[0]


def results(folder: Path, *made: Run) -> list[Result]:
    return read(branches(folder, made, DATA))


def set_seed(branch: Branch, stage: str, seed: int) -> None:
    branch.records[stage]["key"]["params"]["seed"] = seed


def numbers(found: list[Group]) -> list[str]:
    return [group.numbers for group in found]


def test_branches_that_differ_in_the_seed_alone_are_one_network(tmp_path: Path) -> None:
    found = groups(results(tmp_path, *runs(0.9, 0.92, 0.91), *runs(0.8, 0.85, 0.83, model="vgg16")))
    assert [(group.name, group.label, group.axes, group.numbers) for group in found] == [
        ("ResNet50", "resnet50", ("seed",), "1\N{EN DASH}3"),
        ("VGG16", "vgg16", ("seed",), "4\N{EN DASH}6"),
    ]


def test_branches_that_differ_in_the_fold_alone_are_one_network(tmp_path: Path) -> None:
    found = groups(results(tmp_path, *in_folds(0.9, 0.92, 0.91), *in_folds(0.8, 0.85, 0.83, model="vgg16")))
    assert [(group.name, group.label, group.axes, group.repeated, group.numbers) for group in found] == [
        ("ResNet50", "resnet50", ("fold",), "fold", "1\N{EN DASH}3"),
        ("VGG16", "vgg16", ("fold",), "fold", "4\N{EN DASH}6"),
    ]


def test_seeds_of_folds_are_trainings_of_one_network(tmp_path: Path) -> None:
    made = [run for seed in (1, 2) for run in in_folds(0.9, 0.92, 0.91, seed=seed)]
    (group,) = groups(results(tmp_path, *made))
    assert (group.name, len(group.results), set(group.axes), group.repeated) == ("ResNet50", 6, {"fold", "seed"}, "training")
    assert group.images("validation") == 3 * 200 and group.images("test") == 200


def test_two_axes_that_set_seeds_are_one_network(tmp_path: Path) -> None:
    gathered = branches(tmp_path, [Run({"seed": i, "weights": j}, params={"seed": i}) for i in (1, 2) for j in (1, 2)], DATA)
    for branch in gathered:
        set_seed(branch, "build", branch.axes["weights"])
    (group,) = groups(read(gathered))
    assert (group.numbers, group.axes, group.repeated) == ("1\N{EN DASH}4", ("seed", "weights"), "seed")


def test_a_fold_beside_another_setting_is_no_repeated_training(tmp_path: Path) -> None:
    both = [Run({"recipe": i}, params={"fold": i, "learning_rate": i}) for i in (1, 2)]
    assert numbers(groups(results(tmp_path, *both))) == ["1", "2"]


def test_folds_have_validated_the_same_images_together(tmp_path: Path) -> None:
    found = validated_in_folds(results(tmp_path, *in_folds(*GOOD), *in_folds(*POOR, model="vgg16")))
    assert summary.sentences(judge(found))[0].startswith("Chosen on 200 validation images, by the mean over 5 folds each, ")
    assert tested.sentences(ranked(found), str) == []
    assert [len(images) for images in tested.sets(ranked(found[:2]), "validation")] == [80]


def test_more_folds_are_no_way_to_show_a_difference(tmp_path: Path) -> None:
    made = (*in_folds(0.98, 0.9, 0.88), *in_folds(0.86, 0.93, 0.9, model="vgg16"))
    verdict = judge(results(tmp_path, *made))
    assert summary.headline(verdict) == "No difference these folds and this test set can show between ResNet50 and VGG16."
    told = " ".join(summary.sentences(verdict))
    assert "takes" in told and "seeds with these test images" not in told and "folds with these" not in told


def test_an_axis_that_changes_something_else_is_no_seed(tmp_path: Path) -> None:
    rates = [Run({"rate": rate}, params={"learning_rate": rate}) for rate in (0.1, 0.2)]
    assert numbers(groups(results(tmp_path / "rates", *rates))) == ["1", "2"]
    both = [Run({"recipe": i}, params={"seed": i, "learning_rate": i}) for i in (1, 2)]
    assert numbers(groups(results(tmp_path / "both", *both))) == ["1", "2"]
    backends = [Run({"backend": name}, backend=name, params={"seed": 1}) for name in ("tensorflow", "jax")]
    assert numbers(groups(results(tmp_path / "backends", *backends))) == ["1", "2"]
    idle = [Run({"idle": i}, params={"seed": 1}) for i in (1, 2)]
    assert numbers(groups(results(tmp_path / "idle", *idle))) == ["1", "2"]


def test_seeds_of_weights_and_augmentation_count_and_that_of_the_split_does_not(tmp_path: Path) -> None:
    gathered = branches(tmp_path, runs(0.9, 0.92), DATA)
    for seed, branch in enumerate(gathered):
        set_seed(branch, "build", seed)
        set_seed(branch, "preprocess", seed)
    assert numbers(groups(read(gathered))) == ["1, 2"]
    for seed, branch in enumerate(gathered):
        set_seed(branch, "ingest", seed)
    assert numbers(groups(read(gathered))) == ["1", "2"]


def test_branches_without_records_stand_alone(tmp_path: Path) -> None:
    gathered = [Branch(branch.axes, branch.inputs) for branch in branches(tmp_path, runs(0.9, 0.92), DATA)]
    assert numbers(groups(read(gathered))) == ["1", "2"]


def test_a_network_is_chosen_by_its_mean_not_by_its_luckiest_seed(tmp_path: Path) -> None:
    found = results(tmp_path, *runs(0.97, 0.8, 0.81), *runs(0.9, 0.89, 0.91, model="vgg16"))
    assert [group.model for group in ranked(found)] == ["VGG16", "ResNet50"]
    verdict = judge(found)
    assert (verdict.group.model, verdict.chosen.axes["seed"]) == ("VGG16", 3)


def test_equal_means_are_ranked_by_mean_log_loss(tmp_path: Path) -> None:
    found = results(tmp_path, *runs(0.9, 0.9), *runs(0.9, 0.9, model="vgg16"))
    for result, loss in zip(found, (0.1, 0.6, 0.3, 0.3), strict=True):
        result.metrics["validation"].update(accuracy=0.9, log_loss=loss)
    assert [group.model for group in ranked(found)] == ["VGG16", "ResNet50"]


@pytest.mark.parametrize("images", [10, 90, 200, 10_007])
@pytest.mark.parametrize("right", [((9, 8, 7), (7, 8, 9)), ((9, 8, 7), (8, 8, 8)), ((9, 6, 3), (7, 6, 5))])
def test_means_of_as_many_right_images_are_equal(tmp_path: Path, right: tuple[tuple[int, ...], ...], images: int) -> None:
    found = results(tmp_path, *runs(*(0.9,) * 3), *runs(*(0.9,) * 3, model="vgg16"))
    for result, number, loss in zip(found, (*right[0], *right[1]), (0.5, 0.5, 0.5, 0.3, 0.3, 0.3), strict=True):
        result.metrics["validation"].update(accuracy=number / images, log_loss=loss)
    assert [group.model for group in ranked(found)] == ["VGG16", "ResNet50"]


def sums_of_squares(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean squares of seeds, images and rest, from the residuals of three least-squares fits."""
    seeds, images = values.shape
    seed, image = np.repeat(np.eye(seeds), images, axis=0), np.tile(np.eye(images), (seeds, 1))
    target = values.ravel()

    def left(*design: NDArray[np.float64]) -> float:
        whole = np.column_stack(design)
        return float(((target - whole @ np.linalg.lstsq(whole, target, rcond=None)[0]) ** 2).sum())

    rest = left(seed, image)
    return (
        (left(image) - rest) / (seeds - 1),
        (left(seed) - rest) / (images - 1),
        rest / ((seeds - 1) * (images - 1)),
    )


def test_components_of_variance_are_those_of_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(4, 1)) + rng.normal(size=(1, 30)) + 0.5 * rng.normal(size=(4, 30))
    of_seeds, of_images, rest = sums_of_squares(values)
    model = two_level(values)
    assert model.mean == pytest.approx(values.mean())
    assert model.of_rest == pytest.approx(rest)
    assert model.of_seed == pytest.approx((of_seeds - rest) / 30)
    assert model.of_image == pytest.approx((of_images - rest) / 4)
    assert model.variance == pytest.approx((of_seeds + of_images - rest) / 120)
    assert model.between_tests == pytest.approx(np.sqrt(((of_images - rest) / 4 + rest) / 30))


@pytest.mark.parametrize("images", [3, 7, 31, 200, 1999])
def test_two_trainings_that_differ_on_one_image_show_no_variance_between_seeds(images: int) -> None:
    values = np.ones((2, images))
    values[:, : images // 3] = 0
    values[1, 0] = 1  # the mean squares of seeds and rest are 1 / (2 N) both
    model = two_level(values)
    assert model.of_rest == pytest.approx(1 / (2 * images)) and model.of_seed == 0
    assert summary.between_trainings(model) == "none seen"


def test_where_only_the_seed_matters_the_interval_is_students() -> None:
    means = np.array([0.2, 0.5, 0.3])
    model = two_level(np.repeat(means[:, None], 50, axis=1))
    expected = t.interval(0.95, 2, means.mean(), means.std(ddof=1) / np.sqrt(3))
    assert model.interval() == pytest.approx(expected)
    assert model.p == pytest.approx(2 * t.sf(means.mean() / (means.std(ddof=1) / np.sqrt(3)), 2))
    assert model.between_seeds == pytest.approx(means.std(ddof=1))


def test_where_the_seed_does_not_matter_the_interval_is_that_of_the_images() -> None:
    right = np.array([1.0] * 180 + [0.0] * 20)
    model = two_level(np.stack([right] * 3))
    wilson = binomtest(180, 200).proportion_ci(0.95, "wilson")
    assert model.between_seeds == 0 and model.seed_share == pytest.approx(0)
    assert model.share_interval() == pytest.approx((wilson.low, wilson.high), abs=3e-4)


def test_trainings_that_all_make_no_mistake_leave_room_for_one() -> None:
    model = two_level(np.ones((3, 200)))
    wilson = binomtest(200, 200).proportion_ci(0.95, "wilson")
    assert model.share_interval() == pytest.approx((wilson.low, wilson.high))
    assert model.interval() == (1.0, 1.0)


def test_the_critical_value_lies_between_the_normal_and_students() -> None:
    values = [critical(0.025, share, 3) for share in (0, 0.3, 0.6, 1)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == pytest.approx((1.959964, 4.302653))
    assert critical(0.025, 0.5, 3) ** 2 == pytest.approx(1.959964**2 + (4.302653**2 - 1.959964**2) / 4)


def test_p_is_small_just_where_the_interval_leaves_out_zero() -> None:
    rng = np.random.default_rng(0)
    told = [two_level(rng.normal(0.1, 1, (3, 40)) + rng.normal(0, 0.1, (3, 1))) for _ in range(300)]
    small = [model.p < 0.05 for model in told]
    assert small == [model.interval()[0] > 0 or model.interval()[1] < 0 for model in told]
    assert 10 < sum(small) < 290


def test_networks_are_compared_over_the_same_images_and_seeds(tmp_path: Path) -> None:
    first, second = groups(results(tmp_path, *runs(0.95, 0.94, 0.96), *runs(0.9, 0.91, 0.89, model="vgg16")))
    pair = compare(first, second)
    assert pair is not None and pair.model is not None
    right = np.stack([[r.test["correct"].to_numpy() for r in group.results] for group in (first, second)]).astype(float)
    assert (pair.images, pair.trainings) == (200, 3)
    assert pair.only_first == pytest.approx(((right[0] - right[1]) > 0).sum() / 3)
    assert pair.difference == pytest.approx(right[0].mean() - right[1].mean())
    assert pair.interval == two_level(right[0] - right[1]).interval()
    loss = [np.mean([r.test["loss"] for r in group.results]) for group in (first, second)]
    assert pair.more["log_loss"].value == pytest.approx(loss[0] - loss[1])


def test_only_seeds_that_both_have_are_compared(tmp_path: Path) -> None:
    first, second = groups(results(tmp_path, *runs(0.95, 0.94, 0.96), *runs(0.9, 0.91, 0.89, model="vgg16")[1:]))
    pair = compare(first, second)
    assert pair is not None and pair.trainings == 2
    right = [np.mean([r.test["correct"] for r in group.results if r.axes["seed"] > 1]) for group in (first, second)]  # type: ignore[operator]
    assert pair.difference == pytest.approx(right[0] - right[1])


def test_seeds_that_only_one_has_are_compared_in_their_order(tmp_path: Path) -> None:
    late = runs(0.5, 0.5, 0.85, 0.96, 0.96, model="vgg16")[2:]
    first, second = groups(results(tmp_path, *runs(0.85, 0.85, 0.96), *late))
    pair = compare(first, second)
    assert pair is not None and pair.model is not None and pair.trainings == 3
    means = [np.mean([r.test["correct"] for r in group.results]) for group in (first, second)]
    assert pair.difference == pytest.approx(means[0] - means[1]) and pair.difference < 0 and not pair.shown


def test_a_network_that_was_trained_once_is_compared_with_all_trainings_of_the_other(tmp_path: Path) -> None:
    made = results(tmp_path, *runs(0.96, 0.8, 0.8), *runs(0.8, 0.8, model="vgg16"))
    first, second = groups(made)
    once = Group(second.results[:1], ("seed",))
    for pair, sign in ((compare(first, once), 1), (compare(once, first), -1)):
        assert pair is not None and pair.trainings == 3 and pair.trained_once is once and not pair.shown
        mean = np.mean([r.test["correct"] for r in first.results]) - np.mean(once.lead.test["correct"])
        assert pair.difference == pytest.approx(sign * mean)
        told = contrast.comparison(pair)
        assert "in the mean of 3 trainings against the only one of VGG16 (seed 1), whose own seed is not accounted for" in told


def test_seeds_and_images_that_do_not_vary_are_judged_as_one_training(tmp_path: Path) -> None:
    first, second = groups(results(tmp_path, *runs(0.9, 0.9), *runs(0.9, 0.9, model="vgg16")))
    for result in first.results:
        result.test["correct"] = True
    for result in second.results:
        result.test["correct"] = False
    pair = compare(first, second)
    assert pair is not None and pair.difference == 1 and pair.shown and pair.p < 1e-9
    assert 0.9 < pair.interval[0] < pair.interval[1] == 1


@pytest.mark.parametrize("seed", range(20))
def test_an_interval_over_seeds_holds_the_difference_that_was_seen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(50):
        right = rng.random((2, 2, 20)) < np.array([0.95, 0.9])[:, None, None]
        alone = right[0].astype(float) - right[1]
        (low, high), p, _ = paired_test(alone)
        assert low <= alone.mean() <= high and low < high and (low > 0 or high < 0) == (p < 0.05)


def test_networks_that_agree_on_everything_show_no_difference(tmp_path: Path) -> None:
    first, second = groups(results(tmp_path, *runs(0.9, 0.9), *runs(0.9, 0.9, model="vgg16")))
    for result in (*first.results, *second.results):
        result.test["correct"] = result.test["label"] < "9"
    pair = compare(first, second)
    assert pair is not None and pair.p == 1 and pair.interval[0] < 0 < pair.interval[1]


@pytest.mark.parametrize(
    ("word", "made", "images", "unvaried"),
    [
        ("seed", runs, 200, "Nothing but the seed was varied"),
        ("fold", in_folds, 600, "Folds share most of their training images"),
    ],
)
def test_the_verdict_speaks_of_networks_and_says_what_seeds_and_folds_do(
    tmp_path: Path, word: str, made: Callable[..., list[Run]], images: int, unvaried: str
) -> None:
    verdict = judge(results(tmp_path, *made(*GOOD[:3]), *made(*POOR[:3], model="vgg16")))
    assert summary.headline(verdict) == "ResNet50 wins against VGG16."
    told = " ".join(summary.sentences(verdict))
    for words in (
        f"Chosen on {images} validation images, by the mean over 3 {word}s each, so that no lucky {word} decides: "
        "ResNet50 0.96; VGG16 0.71.",
        f"The standard deviation of one training's accuracy between {word}s",
        unvaried,
        f"in the mean of 3 {word}s: +0.250",
        f"a difference ({word}s and images as two levels",
    ):
        assert words in told


def test_a_difference_that_the_seeds_do_not_show_says_what_would(tmp_path: Path) -> None:
    verdict = judge(results(tmp_path, *runs(0.98, 0.9, 0.88), *runs(0.86, 0.93, 0.9, model="vgg16")))
    assert summary.headline(verdict) == "No difference these seeds and this test set can show between ResNet50 and VGG16."
    told = " ".join(summary.sentences(verdict))
    assert "no difference that these seeds and this test set can show" in told
    assert "seeds with these test images (power 0.8 at the 5% level" in told


def test_one_network_is_told_by_its_mean(tmp_path: Path) -> None:
    found = results(tmp_path, *runs(0.96, 0.94, 0.95))
    verdict = judge(found)
    mean = np.mean([result.metrics["test"]["accuracy"] for result in found])
    low, high = scores.over_trainings(verdict.group).share_interval()
    assert (verdict.outcome, verdict.rivals) == ("single", [])
    expected = f"ResNet50 reaches a mean test accuracy over 3 seeds of {mean:.2f} ({low:.2f} to {high:.2f})."
    assert summary.headline(verdict) == expected


def test_the_table_tells_every_branch_what_its_network_reaches(tmp_path: Path) -> None:
    table = tables.report_table(results(tmp_path, *runs(0.96, 0.94), *runs(0.7, 0.72, model="vgg16")))
    assert list(table["trainings"]) == [2, 2, 2, 2]
    assert table["mean_test_accuracy"][0] == pytest.approx(table["test_accuracy"][:2].mean())
    assert (table["mean_test_accuracy_low"] < table["mean_test_accuracy"]).all()
    assert {"sd_between_trainings", "sd_between_test_sets", "mean_validation_accuracy"} <= set(table.columns)
    without: Any = tables.report_table(results(tmp_path / "other", Run({"model": "resnet50"})))
    assert "trainings" not in without.columns
