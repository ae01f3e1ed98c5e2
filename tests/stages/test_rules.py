"""The rules on a trained network: each fault in several strengths, and silence where nothing is wrong."""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.diagnosis import augmentation, label_errors, leakage, trained, validation_skew
from stages.diagnosis.finding import Finding
from stages.diagnosis.seen import Seen, Split
from stages.training.phases import Phase, read

CLASSES = ["cats", "dogs", "hens", "owls"]
SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "phases": [{"finder": None, "unfrozen_layers": ["conv5"]}],
    "plateau_patience": 3,
    "unfreeze": 4,
    "watched": "val_loss",
    "unfrozen_layers": ["conv5"],
    "learning_layers": ["conv5", "head"],
    "random_backbone": False,
    "class_weights": None,
    "trainable_parameters": 5000,
    "head": {"pooling": "avg"},
    "early_stopping": 0,
    "epochs_asked": 8,
}
CHANGES = {"conv1": 0.0, "conv5": 0.02, "head": 0.6}


def split(accuracy: float, images: int = 200, classes: int = 4, seed: int = 0, labels: Sequence[int] | None = None) -> Split:
    """So many images, evenly of every class, of which that share is classified rightly, with probabilities of 0.55 to 1."""
    rng = np.random.default_rng(seed)
    truth = np.array(labels if labels is not None else np.arange(images) % classes, np.int32)
    wrong = rng.permutation(len(truth)) >= round(accuracy * len(truth))
    predicted = np.where(wrong, (truth + rng.integers(1, classes, len(truth))) % classes, truth)
    return Split(sure(predicted, rng.uniform(0.55, 1.0, len(truth)), classes), truth)


def sure(predicted: NDArray[np.integer[Any]], of: NDArray[np.float64], classes: int) -> NDArray[np.float32]:
    """Probabilities of `of` for the predicted class, the rest evenly spread."""
    rest = np.repeat((1 - of)[:, None] / (classes - 1), classes, axis=1)
    rest[np.arange(len(predicted)), predicted] = of
    return rest.astype(np.float32)


def history(loss: Sequence[float], accuracy: Sequence[float], val_loss: Sequence[float], val: float) -> list[dict[str, float]]:
    return [
        {"epoch": e + 1, "loss": a, "accuracy": b, "val_loss": c, "val_accuracy": val}
        for e, (a, b, c) in enumerate(zip(loss, accuracy, val_loss, strict=True))
    ]


FALLING = [1.2, 0.8, 0.6, 0.5, 0.45, 0.42, 0.4, 0.39]
RISING = [0.5, 0.7, 0.8, 0.85, 0.87, 0.88, 0.9, 0.9]
THROWN = {"conv1": 0.0, "head": 12.0}
HEALTHY = history(FALLING, RISING, [x + 0.05 for x in FALLING], 0.87)


def seen(train: float | Split = 0.9, validation: float | Split = 0.87, *, classes: int = 4, **changed: Any) -> Seen:
    """A healthy training of some epochs, but for what is changed."""
    told: dict[str, Any] = {
        "classes": CLASSES[:classes],
        "train": train if isinstance(train, Split) else split(train, classes=classes, seed=1),
        "validation": validation if isinstance(validation, Split) else split(validation, classes=classes, seed=2),
        "training_labels": (np.arange(400) % classes).astype(np.int32),
        "history": HEALTHY,
        "chosen": 8,
        "changes": CHANGES,
    }
    return Seen(**told | changed | {"settings": SETTINGS | changed.get("settings", {})})


def rules(found: Sequence[Finding]) -> list[str]:
    return [finding.rule for finding in found]


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("accuracy", [0.5, 0.7, 0.87, 0.98])
def test_healthy_training_has_no_findings(classes: int, accuracy: float) -> None:
    course = history(FALLING, [accuracy + 0.02] * 8, FALLING, accuracy)
    assert trained.find(seen(accuracy + 0.02, max(accuracy, 1.4 / classes), classes=classes, history=course)) == []


def test_what_another_program_trained_is_judged_by_its_predictions_alone() -> None:
    whole = seen()
    assert trained.find(Seen(whole.classes, whole.train, whole.validation, whole.training_labels)) == []


@pytest.mark.parametrize("accuracy", [0.7, 0.85, 0.99])
@pytest.mark.parametrize("naming", [[1, 0, 2, 3], [1, 2, 3, 0], [3, 2, 1, 0]])
def test_labels_in_another_order(accuracy: float, naming: list[int]) -> None:
    right = split(accuracy, seed=2)
    (found,) = trained.find(seen(0.9, Split(right.probabilities[:, naming], right.labels)))
    assert (found.rule, found.severity) == ("labels-misaligned", "error")
    assert found.effect is not None and found.effect.with_fix == pytest.approx(right.accuracy)
    assert len([name for name in found.evidence if name.startswith("called ")]) == sum(i != j for i, j in enumerate(naming))


def test_a_network_that_is_not_sure_is_misnamed_where_its_history_tells_of_learning() -> None:
    right = split(0.9, seed=2)
    unsure = Split(sure(np.roll(right.predicted, 1), np.full(200, 0.4), 4), np.roll(right.labels, 1))
    renamed = Split(unsure.probabilities[:, [1, 2, 3, 0]], unsure.labels)
    assert rules(trained.find(seen(0.9, renamed))) == ["labels-misaligned"]
    assert rules(trained.find(seen(0.9, unsure))) == []
    assert "labels-misaligned" not in rules(trained.find(seen(renamed, renamed, history=FLAT)))
    assert "labels-misaligned" not in rules(trained.find(seen(renamed, renamed, history=())))


@pytest.mark.parametrize("last", [0.5, 0.9])
def test_classes_that_the_training_mistakes_too_are_not_called_misnamed(last: float) -> None:
    labels = (np.arange(198) % 3).astype(np.int32)
    swapped = np.where(np.arange(198) % 4 > 0, np.array([1, 0, 2])[labels], labels)  # of two classes, three in four
    mistaken = Split(sure(swapped, np.full(198, 0.9), 3), labels)
    course = history(FALLING, [last - 0.02] * 7 + [last], FALLING, 0.5)
    told = rules(trained.find(seen(mistaken, mistaken, classes=3, history=course)))
    assert ("labels-misaligned" in told) == (last == 0.9)


@pytest.mark.parametrize("images", [20, 60, 200])
def test_guesses_are_not_called_misnamed(images: int) -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        guessed = Split(rng.dirichlet([1] * 4, images).astype(np.float32), (np.arange(images) % 4).astype(np.int32))
        assert "labels-misaligned" not in rules(trained.find(seen(guessed, guessed)))


LN4 = float(np.log(4))
FLAT = history([LN4 + 0.01, LN4, LN4, LN4], [0.24, 0.26, 0.25, 0.25], [LN4] * 4, 0.25)


FROZEN: dict[str, Any] = {"finder": None, "unfrozen_layers": []}
FROZEN_RANDOM = {"random_backbone": True, "unfreeze": 0, "unfrozen_layers": [], "phases": [FROZEN]}


def losses(*loss: float) -> list[dict[str, float]]:
    """A history at chance."""
    return history(loss, [0.25] * len(loss), [LN4] * len(loss), 0.25)


@pytest.mark.parametrize(
    ("changed", "rule", "fix"),
    [
        ({"silent": lambda: {"hidden": 1.0}}, "learning-rate-high", 'learning_rate = "find"'),
        ({"silent": lambda: {"hidden": 0.93, "conv": 0.1}}, "learning-rate-high", 'learning_rate = "find"'),
        ({"changes": {"conv1": 0.0, "head": 1e-6}}, "learning-rate-low", 'learning_rate = "find"'),
        ({"changes": {"head": 5e-4}}, "learning-rate-low", 'learning_rate = "find"'),
        ({"history": losses(1.7, 1.69999, 1.69998, 1.69997)}, "learning-rate-low", 'learning_rate = "find"'),
        ({"history": losses(1.7, 1.68, 1.679, 1.66)}, "not-learning", ""),
        ({"history": losses(9.0, 5.0, 3.0, 2.0)}, "learning-rate-low", 'learning_rate = "find"'),
        ({"settings": FROZEN_RANDOM}, "random-backbone", 'weights = "imagenet"'),
        ({"history": losses(1.4, 9.0, 3.0, 1.4)}, "learning-rate-high", 'learning_rate = "find"'),
        ({"history": losses(1826.0, 61.0, 4.0, 1.4), "changes": THROWN}, "learning-rate-high", 'learning_rate = "find"'),
        ({"history": losses(7.4, 7.9, 8.1, 8.06), "changes": THROWN}, "learning-rate-high", 'learning_rate = "find"'),
        ({"history": losses(9.0, 1.5, 1.4, 1.4)}, "not-learning", ""),
        ({}, "not-learning", ""),
    ],
)
def test_loss_that_stays_where_it_was(changed: dict[str, Any], rule: str, fix: str) -> None:
    guessed = split(0.25, seed=5)
    (found,) = [f for f in trained.find(seen(guessed, guessed, **{"history": FLAT} | changed)) if f.severity == "error"]
    assert found.rule == rule and fix in (found.fix or "")
    assert found.evidence["loss_of_knowing_the_shares_alone"] == pytest.approx(LN4)


@pytest.mark.parametrize(
    ("changes", "sure", "rule"),
    [
        ({"conv1": 0.0, "head": 0.0}, 1.0, "saturated-outputs"),
        ({"conv1": 0.0, "head": 0.0}, 0.98, "not-learning"),  # not so sure that nothing would come back
        ({"conv1": 0.0, "head": 6e-4}, 1.0, "saturated-outputs"),  # rounding moves weights a little
        ({"conv1": 0.0, "head": 6e-4}, 0.98, "learning-rate-low"),
        ({"conv1": 0.0, "head": 3.0}, 1.0, "learning-rate-high"),
        ({}, 1.0, "learning-rate-high"),
    ],
)
def test_a_network_that_is_sure_of_wrong_classes_is_judged_by_where_its_weights_are(
    changes: dict[str, float], sure: float, rule: str
) -> None:
    labels = (np.arange(200) % 4).astype(np.int32)
    certain = Split(np.tile([sure, *[(1 - sure) / 3] * 3], (200, 1)).astype(np.float32), labels)
    course, settings = losses(12.09, 12.09, 12.09, 12.09), {"saturates": True}
    told = trained.find(seen(certain, certain, history=course, changes=changes, settings=settings))
    assert "far above that of knowing" in told[0].title
    assert [finding.rule for finding in told if finding.severity == "error"] == [rule]


def test_outputs_may_saturate_after_some_epochs() -> None:
    labels = (np.arange(200) % 4).astype(np.int32)
    certain = Split(np.tile([1.0, 0.0, 0.0, 0.0], (200, 1)).astype(np.float32), labels)
    course, settings = losses(13.0, 12.09, 12.0886, 12.0886, 12.0886, 12.0886), {"saturates": True}
    told = trained.find(seen(certain, certain, history=course, changes={"head": 0.3}, settings=settings))
    assert [finding.rule for finding in told if finding.severity == "error"] == ["saturated-outputs"]
    assert "in the last 3 epochs" in told[0].cause


def test_a_loss_that_moves_is_not_that_of_saturated_outputs() -> None:
    labels = (np.arange(200) % 4).astype(np.int32)
    certain = Split(np.tile([1.0, 0.0, 0.0, 0.0], (200, 1)).astype(np.float32), labels)
    for course, rule in (
        (losses(12.09, 12.0899, 12.0898, 12.0897), "learning-rate-low"),
        (losses(12.09, 12.1, 12.07, 12.09), "not-learning"),
    ):
        told = trained.find(seen(certain, certain, history=course, changes={"head": 0.05}, settings={"saturates": True}))
        assert [finding.rule for finding in told if finding.severity == "error"] == [rule]


def test_a_random_backbone_that_is_frozen_is_told_though_its_head_learned_something() -> None:
    (found,) = trained.find(seen(0.8, 0.6, settings=FROZEN_RANDOM))
    assert (found.rule, found.severity, found.fix) == ("random-backbone", "warning", 'stages.build.params.weights = "imagenet"')
    assert found.evidence["val_accuracy"] == pytest.approx(0.6, abs=0.01)
    assert trained.find(seen(settings=FROZEN_RANDOM | {"phases": [FROZEN | {"unfrozen_layers": ["conv5"]}, FROZEN]})) == []


def test_a_rate_that_was_measured_is_multiplied() -> None:
    guessed, phases = split(0.25, seed=5), [{"finder": {"learning_rate": 1e-3}}]
    changes = {"head": 1e-6, "conv5": 1e-7}
    told = trained.find(seen(guessed, guessed, history=FLAT, changes=changes, settings={"phases": phases}))
    assert "unfreezing-without-effect" not in rules(told)  # whose layers stayed for the same reason
    assert [f.fix for f in told if f.rule == "learning-rate-low"] == ["stages.train.params.learning_rate = 0.1"]


def test_a_first_epoch_that_threw_the_weights_away_is_told_though_something_was_learned() -> None:
    course = history([1826.0, 61.0, 0.6, 0.4], [0.3, 0.5, 0.8, 0.9], [0.6] * 4, 0.87)
    told = trained.find(seen(history=course, changes=THROWN))
    assert [(f.rule, f.severity) for f in told] == [("learning-rate-high", "warning")]
    assert trained.find(seen(history=course, changes={"conv1": 0.0, "head": 0.5})) == []  # large features, first weights
    assert trained.find(seen(history=course, changes={})) == []  # which also may be where nothing tells of the weights
    later = [course[2], *course[:2], course[3]]
    assert rules(trained.find(seen(history=later, changes={}))) == ["learning-rate-high"]


def test_pixels_that_a_probe_does_not_mind_are_the_cause_where_there_is_no_other() -> None:
    guessed, scale = split(0.25, seed=5), Finding("input-scale", "note", "Pixels its weights never saw", "", {}, fix="scaling")
    (found,) = trained.find(seen(guessed, guessed, history=FLAT), [scale])
    assert (found.rule, found.severity, found.fix) == ("input-scale", "error", "scaling") and scale.title in found.cause
    (found,) = trained.find(seen(guessed, guessed, history=FLAT, silent=lambda: {"hidden": 1.0}), [scale])
    assert found.rule == "learning-rate-high"
    assert trained.find(seen(), [scale]) == []


@pytest.mark.parametrize("rule", ["input-scale", "augmentation-extreme"])
def test_steps_are_not_blamed_where_the_pictures_are_at_fault(rule: str) -> None:
    guessed, cause = split(0.25, seed=5), Finding(rule, "warning", "Nothing can be seen", "", {}, fix='augment = "none"')
    found = trained.find(seen(guessed, guessed, history=FLAT, silent=lambda: {"hidden": 1.0}), [cause])
    assert rules(found) == ["not-learning"] and found[0].fix == cause.fix and cause.title in found[0].cause


@pytest.mark.parametrize(("epochs", "steps", "found"), [(2, 100, 0), (4, 7, 0), (4, 8, 1), (3, 100, 1)])
def test_a_training_of_few_steps_is_not_judged(epochs: int, steps: int, found: int) -> None:
    guessed, settings = split(0.25, seed=5), {"steps_per_epoch": steps}
    told = trained.find(seen(guessed, guessed, history=FLAT[:epochs], settings=settings))
    assert rules(told).count("not-learning") == found


def test_a_loss_that_is_no_number_is_told_with_its_epoch() -> None:
    course = history([1.2, 0.9, float("nan"), float("nan")], [0.4] * 4, [float("nan")] * 4, 0.25)
    found = trained.find(seen(0.25, 0.25, history=course))
    assert rules(found) == ["learning-rate-high"] and "from epoch 3 on" in found[0].title
    assert np.isfinite(list(found[0].evidence.values())).all()


def test_losses_of_weighed_classes_and_smoothed_labels_are_compared_with_their_own_kind() -> None:
    labels = np.array([0] * 380 + [1] * 20, np.int32)
    weighed: dict[str, Any] = {
        "classes": 2,
        "training_labels": labels,
        "settings": {"class_weights": {"cats": 0.5, "dogs": 10.0}},
    }
    good = split(0.94, 400, 2, labels=labels)
    course = history([0.69, 0.5, 0.35, 0.25], [0.6, 0.8, 0.9, 0.94], [0.3] * 4, 0.94)
    assert not any(finding.severity == "error" for finding in trained.find(seen(good, good, history=course, **weighed)))
    stuck = history([0.69] * 4, [0.5] * 4, [0.69] * 4, 0.5)
    guessed = Split(np.full((400, 2), 0.5, np.float32), labels)
    assert "not-learning" in rules(trained.find(seen(guessed, guessed, history=stuck, **weighed)))
    smooth = seen(settings={"label_smoothing": 0.2}, classes=2).entropy
    assert smooth == pytest.approx(np.log(2))
    assert seen(settings={"label_smoothing": 0.2}, classes=2, training_labels=labels).entropy > 0.3


def test_a_history_without_accuracy_is_read_by_its_losses() -> None:
    course = [{"loss": row["loss"], "val_loss": row["val_loss"]} for row in HEALTHY]
    assert trained.find(seen(history=course)) == []
    flat = [{"loss": LN4, "val_loss": LN4}] * 4
    guessed = split(0.25, seed=5)
    assert rules(trained.find(seen(guessed, guessed, history=flat)))[0] == "not-learning"


def test_many_classes() -> None:
    labels = (np.arange(2000) % 200).astype(np.int32)
    shifted = Split(sure((labels + 1) % 200, np.full(2000, 0.9), 200), labels)
    told = Seen([str(i) for i in range(200)], shifted, shifted, labels)
    assert rules(trained.find(told)) == ["labels-misaligned"]


def test_lines_of_the_last_of_several_phases() -> None:
    first = {"unfreeze": 0, "epochs": 2, "learning_rate": 1e-3, "finder": {"learning_rate": 1e-3}, "seconds": 3.0}
    last = {"unfreeze": "all", "epochs": 4, "learning_rate": 1e-5, "schedule": "cosine", "finder": None}
    phases = {"settings": {"phases": [first, last], "in_phases": True}}
    guessed = split(0.25, seed=5)

    def patched(finding: Finding) -> Any:
        assert finding.fix is not None
        params = tomllib.loads(finding.fix)["stages"]["train"]["params"]
        tables, default = params.pop("phases"), Phase(0, 10, 1e-3)
        read(replace(default, **params), tables, asdict(default))  # train takes the stage's own value with them
        assert len(params) == 1
        return tables

    found = trained.find(seen(guessed, guessed, history=FLAT, silent=lambda: {"hidden": 1.0}, **phases))
    kept = {"unfreeze": 0, "epochs": 2, "learning_rate": "find"}
    assert patched(found[0]) == [
        kept,
        {"unfreeze": "all", "epochs": 4, "learning_rate": "find", "schedule": "cosine"},
    ]
    (stayed,) = trained.find(seen(changes=CHANGES | {"conv5": 0.0}, **phases))
    assert patched(stayed)[1] == {"unfreeze": 0, "epochs": 4, "learning_rate": 1e-5, "schedule": "cosine"}
    (one,) = trained.find(seen(changes=CHANGES | {"conv5": 0.0}, settings={"phases": [last], "in_phases": True}))
    assert patched(one) == [{"unfreeze": 0, "epochs": 4, "learning_rate": 1e-5, "schedule": "cosine"}]
    (without,) = trained.find(seen(changes=CHANGES | {"conv5": 0.0}, settings={"phases": [last]}))
    assert without.fix == "stages.train.params.unfreeze = 0"


def test_slow_but_real_learning_is_not_called_none() -> None:
    course = history([1.39, 1.37, 1.33, 1.3], [0.26, 0.3, 0.33, 0.35], [1.35] * 4, 0.34)
    assert trained.find(seen(0.36, 0.36, history=course)) == []


@pytest.mark.parametrize("validation", [0.2, 0.25, 0.3])
@pytest.mark.parametrize("training", [0.55, 0.75, 0.98])
def test_validation_that_never_leaves_chance(training: float, validation: float) -> None:
    course = history(FALLING, [training] * 8, [3.0] * 8, validation)
    (found,) = trained.find(seen(0.25, validation, history=course))
    assert (found.rule, found.severity) == ("validation-at-chance", "error")


@pytest.mark.parametrize(("images", "right", "told"), [(10, 6, 0), (20, 12, 0), (40, 24, 0), (40, 20, 1), (200, 100, 1)])
def test_few_validation_images_are_not_said_to_stay_at_chance(images: int, right: int, told: int) -> None:
    validation = split(right / images, images, 2)
    found = trained.find(seen(0.97, validation, classes=2, history=history(FALLING, [0.97] * 8, FALLING, 0.6)))
    assert rules(found).count("validation-at-chance") == told


def test_both_classes_known_is_no_chance_though_naming_the_frequent_one_is_right_as_often() -> None:
    labels = np.array([0] * 140 + [1] * 60, np.int32)
    validation = split(0.72, classes=2, labels=labels)
    course = history(FALLING, [0.96] * 8, FALLING, 0.72)
    told: dict[str, Any] = {"classes": 2, "training_labels": labels, "history": course}
    assert "validation-at-chance" not in rules(trained.find(seen(0.96, validation, **told)))
    guessed = Split(sure(np.arange(200) % 10 // 7, np.full(200, 0.9), 2), labels)
    assert "validation-at-chance" in rules(trained.find(seen(0.96, guessed, **told)))


@pytest.mark.parametrize(("images", "told"), [(2, 0), (4, 0), (6, 0), (8, 1), (40, 1)])
def test_a_few_images_under_one_name_are_no_collapse(images: int, told: int) -> None:
    validation = Split(sure(np.zeros(images, np.int64), np.full(images, 0.9), 2), (np.arange(images) % 2).astype(np.int32))
    assert rules(trained.find(seen(0.6, validation, classes=2, history=()))).count("one-class") == told


def test_symptoms_are_not_told_beside_their_cause() -> None:
    course = history(FALLING, RISING, [3.0] * 8, 0.25)
    stuck = seen(0.25, 0.25, history=course)
    cause, beside = Finding("input-scale", "error", "", "", {}), Finding("leakage", "error", "", "", {})
    assert rules(trained.find(stuck, [beside])) == ["validation-at-chance"]
    assert rules(trained.find(stuck, [Finding("input-scale", "warning", "", "", {})])) == ["validation-at-chance"]
    assert rules(trained.find(stuck)) == ["validation-at-chance"]
    assert trained.find(stuck, [cause]) == []
    assert rules(trained.find(stuck, [Finding("input-scale", "note", "", "", {})])) == ["validation-at-chance"]


@pytest.mark.parametrize("share", [0.96, 1.0])
def test_one_class_for_all(share: float) -> None:
    predicted = np.where(np.arange(200) < 200 * share, 2, np.arange(200) % 4)
    one = Split(sure(predicted, np.full(200, 0.9), 4), (np.arange(200) % 4).astype(np.int32))
    course = history(FALLING, [0.4] * 8, FALLING, 0.25)
    (found,) = trained.find(seen(one, one, history=course))
    assert found.rule == "one-class" and '"hens"' in found.title


def test_of_several_rare_classes_the_worst_is_named() -> None:
    labels = np.array([0] * 200 + [1] * 20 + [2] * 20, np.int32)
    predicted = np.where(labels == 2, 0, labels)
    validation = Split(sure(predicted, np.full(len(labels), 0.9), 3), labels)
    found = trained.find(seen(validation, validation, classes=3, training_labels=labels))
    assert [f.evidence["recall_rare"] for f in found if f.rule == "imbalance"] == [0.0]


@pytest.mark.parametrize(("ratio", "missed"), [(4, 0.6), (9, 0.8), (20, 1.0)])
def test_rare_class_that_is_never_named(ratio: int, missed: float) -> None:
    labels = np.array([0] * 20 * ratio + [1] * 20, np.int32)
    predicted = labels.copy()
    predicted[len(labels) - round(20 * missed) :] = 0
    validation = Split(sure(predicted, np.full(len(labels), 0.9), 2), labels)
    told: dict[str, Any] = {"classes": 2, "training_labels": labels}
    course = history([x / 8 for x in FALLING], [0.9] * 8, FALLING, 0.9)
    (found,) = trained.find(seen(validation, validation, history=course, **told))
    assert (found.rule, found.fix) == ("imbalance", 'stages.train.params.class_weights = "balanced"')
    weighed = trained.find(seen(validation, validation, history=course, settings={"class_weights": {"cats": 1.0}}, **told))
    assert [finding.fix for finding in weighed] == [None]
    assert (
        trained.find(seen(split(0.95, labels=labels, classes=2), split(0.95, labels=labels, classes=2), history=course, **told))
        == []
    )


def test_the_worst_of_many_rare_classes_may_come_out_badly_by_chance() -> None:
    counts = np.array([400] + [80] * 30)
    labels = np.repeat(np.arange(31), counts).astype(np.int32)
    truth = np.repeat(np.arange(31), counts // 10).astype(np.int32)
    predicted = truth.copy()
    predicted[:6] = 1  # 85 % of the frequent class are recognised, and half of one rare class
    predicted[truth == 30] = np.where(np.arange(8) < 4, 30, 0)
    validation = Split(sure(predicted, np.full(len(truth), 0.9), 31), truth)
    looked = Seen([str(i) for i in range(31)], validation, validation, labels)
    assert trained.find(looked) == []
    predicted[truth == 30] = 0
    validation = Split(sure(predicted, np.full(len(truth), 0.9), 31), truth)
    assert rules(trained.find(Seen(looked.classes, validation, validation, labels))) == ["imbalance"]


@pytest.mark.parametrize("known", [8, 10])
def test_rare_classes_that_are_overlooked_together(known: int) -> None:
    """10 of 15 images of one alone might be recognised by chance, beside 15 of 15; as many of each of three are not."""
    truth = np.repeat(np.arange(4), 15).astype(np.int32)
    predicted = np.where((np.arange(60) % 15 >= known) & (truth > 0), 0, truth)
    validation, labels = Split(sure(predicted, np.full(60, 0.9), 4), truth), np.repeat(np.arange(4), [160, 10, 10, 10])
    (found,) = trained.find(seen(validation, validation, training_labels=labels.astype(np.int32), history=()))
    assert (found.rule, found.evidence["recall_rare"]) == ("imbalance", pytest.approx(known / 15))
    only = truth < 2
    alone = Split(validation.probabilities[only], truth[only])
    told = trained.find(seen(alone, alone, training_labels=labels.astype(np.int32), history=()))
    assert ("imbalance" in rules(told)) == (known == 8)


def test_a_rare_class_that_is_named_too_often_elsewhere_is_hard_not_overlooked() -> None:
    labels = np.array([0] * 100 + [1] * 25 + [2] * 100, np.int32)
    predicted = labels.copy()
    predicted[100:115], predicted[125:140] = 2, 1
    validation = Split(sure(predicted, np.full(225, 0.9), 3), labels)
    assert trained.find(seen(validation, validation, classes=3, training_labels=labels, history=())) == []
    predicted[125:140] = 2
    validation = Split(sure(predicted, np.full(225, 0.9), 3), labels)
    assert rules(trained.find(seen(validation, validation, classes=3, training_labels=labels, history=()))) == ["imbalance"]


@pytest.mark.parametrize("rise", [1.3, 2.0, 5.0])
def test_overfitting_and_since_when(rise: float) -> None:
    watched = [0.9, 0.7, 0.6, 0.65, 0.7, 0.6 * rise, 0.6 * rise, 0.6 * rise]
    course = history(FALLING, [0.5, 0.7, 0.85, 0.92, 0.97, 0.99, 1.0, 1.0], watched, 0.75)
    (found,) = trained.find(seen(1.0, 0.75, history=course))
    assert (found.rule, found.severity) == ("overfitting", "warning")
    assert found.evidence["best_epoch"] == 3 and found.fix == "stages.train.params.early_stopping = 3"
    (kept,) = trained.find(seen(1.0, 0.75, history=course, chosen=3))
    assert (kept.severity, kept.fix) == ("note", None)
    phases = [SETTINGS["phases"][0] | {"schedule": "plateau"}]
    (found,) = trained.find(seen(1.0, 0.75, history=course, settings={"phases": phases}))
    assert found.fix == "stages.train.params.early_stopping = 7"  # after plateau_patience = 3 lowered the rate, twice
    (later,) = trained.find(seen(1.0, 0.75, history=course, before=5))
    assert later.evidence["best_epoch"] == 8 and "from epoch 9 on" in later.title
    large = {"trainable_parameters": 13_000_000, "head": {"pooling": "flatten"}}
    (found,) = trained.find(seen(1.0, 0.75, history=course, settings=large))
    assert found.fix == 'stages.train.params.pooling = "avg"'


def test_validation_behind_training_without_a_rise_is_only_noted_with_the_number_of_images() -> None:
    course = history(FALLING, [1.0] * 8, [0.9, 0.7, 0.62, 0.6, 0.61, 0.62, 0.6, 0.62], 0.75)
    (found,) = trained.find(seen(1.0, 0.7, history=course))
    assert (found.rule, found.severity, found.fix) == ("overfitting", "note", None) and "400 training images" in found.cause
    flat = {"head": {"pooling": "flatten"}, "trainable_parameters": 10**7}
    (found,) = trained.find(seen(1.0, 0.7, history=course, settings=flat))
    assert found.fix == 'stages.train.params.pooling = "avg"'
    assert trained.find(seen(1.0, 0.8, history=course)) == []


def same_of_all(classes: int = 4) -> Split:
    """What a network says through which nothing passes."""
    labels = (np.arange(200) % classes).astype(np.int32)
    return Split(np.tile(np.array([[0.4, 0.3, 0.2, 0.1]], np.float32), (200, 1)), labels)


def test_a_layer_that_passes_nothing_on_though_the_history_is_a_good_one() -> None:
    told = trained.find(seen(same_of_all(), same_of_all(), silent=lambda: {"hidden": 1.0}))
    assert rules(told) == ["dead-units"] and "100 % of the units of hidden" in told[0].cause
    assert rules(trained.find(seen(same_of_all(), same_of_all(), silent=lambda: {"hidden": 0.5}))) == ["one-class"]
    assert trained.find(seen(silent=lambda: {"hidden": 1.0})) == []
    gap = Finding("batchnorm-gap", "error", "", "", {})
    assert trained.find(seen(same_of_all(), same_of_all(), silent=lambda: {"hidden": 1.0}), [gap]) == []


def test_what_a_wrong_bias_hides_is_measured() -> None:
    right, biased = split(0.9, seed=1), split(0.9, seed=1)
    tilted = biased.probabilities * np.array([1e9, 1, 1, 1], np.float32)
    biased = Split((tilted / tilted.sum(axis=1, keepdims=True)).astype(np.float32), biased.labels)
    (found,) = [f for f in trained.find(seen(biased, biased)) if f.rule == "one-class"]
    assert found.effect is not None
    assert found.effect.as_configured == pytest.approx(0.25, abs=0.02) and found.effect.with_fix > right.accuracy - 0.05


def test_a_loss_that_creeps_in_a_line_is_told_though_first_weights_know_something() -> None:
    course = history([0.6224, 0.6223, 0.6222, 0.6221], [0.6] * 4, [0.63] * 4, 0.6)
    assert rules(trained.find(seen(split(0.6, classes=2), split(0.6, classes=2), classes=2, history=course))) == [
        "learning-rate-low"
    ]


def test_what_is_refined_in_small_steps_was_learned_before() -> None:
    course = history([0.1, 0.0985, 0.097, 0.0955], [0.97] * 4, [0.3] * 4, 0.9)
    assert trained.find(seen(0.97, 0.9, history=course, settings={"phases": [{}, {}]})) == []
    crept = history([0.6224, 0.6223, 0.6222, 0.6221], [0.6] * 4, [0.63] * 4, 0.6)
    (found,) = trained.find(seen(split(0.6, classes=2), split(0.6, classes=2), classes=2, history=crept))
    assert found.title == "Training hardly learned: its loss fell by 0.05 %"


def test_a_first_loss_of_rare_classes_is_measured_by_their_number() -> None:
    labels = np.array([0] * 990 + [1] * 10, np.int32)
    good = split(0.995, labels=labels, classes=2)
    course = history([1.8, 0.05, 0.03, 0.02], [0.9, 0.99, 0.99, 0.995], [0.05] * 4, 0.99)
    assert trained.find(seen(good, good, classes=2, training_labels=labels, history=course)) == []


def test_several_times_chance_is_learning_however_many_classes_there_are() -> None:
    labels = (np.arange(4000) % 200).astype(np.int32)
    right = np.arange(4000) % 16 == 0
    predicted = np.where(right, labels, np.random.default_rng(0).integers(0, 200, 4000))
    begun = Split(sure(predicted, np.full(4000, 0.006), 200), labels)
    course = history([5.29, 5.25, 5.2], [0.01, 0.03, 0.05], [5.25] * 3, 0.05)
    told = Seen([str(i) for i in range(200)], begun, begun, labels, course, settings=SETTINGS | {"steps_per_epoch": 125})
    assert trained.find(told) == []
    none = Split(np.roll(begun.probabilities, 7, axis=0), labels)
    flat = history([5.3, 5.3, 5.3], [0.005, 0.004, 0.006], [5.3] * 3, 0.005)
    assert rules(trained.find(Seen(told.classes, none, none, labels, flat, settings=told.settings))) == ["not-learning"]


@pytest.mark.parametrize(("images", "epochs", "told"), [(60, 3, 0), (60, 14, 0), (60, 15, 1), (400, 3, 1)])
def test_steps_that_are_not_known_are_reckoned_from_the_number_of_images(images: int, epochs: int, told: int) -> None:
    guessed, labels = split(0.25, seed=5), (np.arange(images) % 4).astype(np.int32)
    course = history([LN4] * epochs, [0.25] * epochs, [LN4] * epochs, 0.25)
    assert rules(trained.find(Seen(CLASSES, guessed, guessed, labels, course))).count("not-learning") == told


@pytest.mark.parametrize("loss", [[46.0, 44.0, 43.0, 42.5], [22.0, 21.7, 21.4, 21.1]])
def test_losses_with_a_penalty_on_the_weights_are_no_cross_entropies(loss: list[float]) -> None:
    course = history(loss, [0.6, 0.8, 0.9, 0.95], [x + 1 for x in loss], 0.9)
    assert [f for f in trained.find(seen(0.95, 0.9, history=course, settings={"penalty": 20.0})) if f.severity != "note"] == []
    small = seen(split(0.25, seed=5), split(0.25, seed=5), history=FLAT, settings={"penalty": 0.01})
    assert rules(trained.find(small)) == ["not-learning"]


@pytest.mark.parametrize("fall", [0.9, 0.7])
def test_training_that_ends_while_it_still_learns_is_noted(fall: float) -> None:
    falling = [1.3 * fall**epoch for epoch in range(5)]
    (found,) = trained.find(seen(0.7, 0.7, history=history(falling, [0.6] * 5, falling, 0.7), chosen=5))
    assert (found.rule, found.severity, found.fix) == ("unfinished", "note", "stages.train.params.epochs = 10")


def test_early_stopping_that_took_noise_for_the_end() -> None:
    watched = [1.0, 0.8, 0.81]
    course = history([1.2, 0.9, 0.7], [0.5, 0.6, 0.7], watched, 0.7)
    early = {"early_stopping": 1, "epochs_asked": 20}
    (found,) = trained.find(seen(0.72, 0.7, history=course, chosen=2, settings=early))
    assert (found.rule, found.fix) == ("stopped-too-early", "stages.train.params.early_stopping = 5")
    waited = history([1.2, 0.9, 0.8, 0.75, 0.7], [0.5, 0.6, 0.6, 0.65, 0.7], [1.0, 0.8, 0.82, 0.81, 0.81], 0.7)
    (found,) = trained.find(seen(0.72, 0.7, history=waited, chosen=2, settings=early | {"early_stopping": 3}))
    assert (found.rule, found.severity) == ("stopped-too-early", "note")
    risen = history([1.2, 0.9, 0.7], [0.5, 0.6, 0.7], [1.0, 0.8, 1.3], 0.7)
    assert trained.find(seen(0.72, 0.7, history=risen, chosen=2, settings=early)) == []
    assert trained.find(seen(0.72, 0.7, history=course, chosen=2, settings=early | {"epochs_asked": 3})) == []
    rising = history([1.0, 0.8, 0.6, 0.5, 0.4], [0.5, 0.6, 0.7, 0.8, 0.85], [0.5, 0.45, 0.455, 0.46, 0.47], 0.8)
    assert trained.find(seen(0.85, 0.8, history=rising, chosen=2, settings={"early_stopping": 3, "epochs_asked": 30})) == []
    one = Split(np.array([[0.7, 0.1, 0.1, 0.1]], np.float32), np.zeros(1, np.int32))
    assert trained.find(seen(0.72, one, history=course, chosen=2, settings=early)) == []


@pytest.mark.parametrize("change", [1e-7, 0.3])
def test_frozen_layer_that_moved(change: float) -> None:
    (found,) = trained.find(seen(changes=CHANGES | {"conv1": change}))
    assert (found.rule, found.severity) == ("frozen-moved", "error") and "conv1" in found.cause


@pytest.mark.parametrize("change", [0.0, 1e-9, 9e-6])
def test_unfrozen_layers_that_did_not_learn(change: float) -> None:
    (found,) = trained.find(seen(changes=CHANGES | {"conv5": change}))
    assert (found.rule, found.fix) == ("unfreezing-without-effect", "stages.train.params.unfreeze = 0")
    (decayed,) = trained.find(
        seen(changes=CHANGES | {"conv5": 0.0}, settings={"phases": [{"finder": None, "layer_decay": 1e-5}]})
    )
    assert decayed.fix == "stages.train.params.layer_decay = 1.0" and "layer_decay = 1e-05 leaves" in decayed.cause


@pytest.mark.parametrize(("leaked", "severity"), [(0.005, "note"), (0.1, "error"), (0.6, "error")])
def test_leaked_images_and_what_they_are_worth(leaked: float, severity: str) -> None:
    among = np.arange(200) < 200 * leaked
    right = among | (np.arange(200) % 2 == 0)
    found = leakage.find({"validation": np.zeros(200, bool), "test": among}, {"validation": right, "test": right})
    assert found is not None and found.severity == severity and found.effect is not None
    assert found.effect.as_configured == right.mean() and found.effect.with_fix == pytest.approx(0.5, abs=0.01)
    assert leakage.find({"test": np.zeros(200, bool)}, {"test": right}) is None


def test_leaks_are_found_by_content() -> None:
    found = leakage.exact(["a", "b", "c", "a", "d", "c"], np.array([0, 1, 2]), np.array([3, 4, 5]))
    assert found.tolist() == [True, False, True]


@pytest.mark.parametrize("wrong", [12, 20, 40])
def test_wrong_labels_are_named(wrong: int) -> None:
    right = split(1.0, seed=3)
    labels = right.labels.copy()
    labels[:wrong] = (labels[:wrong] + 1) % 4
    sure_of_it = Split(sure(right.labels, np.full(200, 0.97), 4), labels)
    paths = [f"{i}.jpg" for i in range(200)]
    (found,) = label_errors.find(seen(validation=sure_of_it), paths, [])
    assert found.severity == "note"
    error = Finding(rule="batchnorm-gap", severity="error", title="", cause="", evidence={})
    assert label_errors.find(seen(validation=sure_of_it), paths, [error]) == []  # of such a network all is doubtful
    assert set(label_errors.doubted(sure_of_it)) == set(range(wrong))
    assert found.evidence["0.jpg"] == "labelled dogs, looks like cats"


@pytest.mark.parametrize("wrong", [10, 20, 40])
def test_wrong_labels_are_named_by_a_network_that_was_trained_on_as_many(wrong: int) -> None:
    right = split(1.0, seed=3)
    labels = right.labels.copy()
    labels[:wrong] = (labels[:wrong] + 1) % 4
    calibrated = Split(sure(right.labels, np.random.default_rng(0).normal(1 - wrong / 200, 0.01, 200), 4), labels)
    (found,) = label_errors.find(seen(validation=calibrated), [f"{i}.jpg" for i in range(200)], [])
    named = {name for name in found.evidence if name.endswith(".jpg")}
    assert named <= {f"{i}.jpg" for i in range(wrong)} and found.evidence["share"] >= 0.3 * wrong / 200


@pytest.mark.parametrize("accuracy", [0.25, 0.4, 0.55, 0.65])
def test_mistakes_of_a_weak_network_are_not_called_wrong_labels(accuracy: float) -> None:
    for seed in range(20):
        mistaken = split(accuracy, seed=seed)
        assert label_errors.find(seen(validation=mistaken), [str(i) for i in range(200)], []) == []


def test_wrong_labels_are_told_where_they_are_what_makes_the_network_look_weak() -> None:
    right = split(0.9, seed=3)
    labels = right.labels.copy()
    labels[:50] = (labels[:50] + 1) % 4
    looked = seen(validation=Split(sure(right.predicted, np.full(200, 0.97), 4), labels))
    (found,) = label_errors.find(looked, [str(i) for i in range(200)], [])
    assert found.evidence["share"] > 0.2


@pytest.mark.parametrize("left", [0.25, 0.5, 0.7])
def test_augmentation_that_hides_the_pictures(left: float) -> None:
    plain, strong = split(0.95, 128, seed=1), split(left, 128, seed=2)
    found = augmentation.find(plain, strong, "question", "augment = 0")
    assert found is not None and found.fix == "augment = 0"
    assert found.evidence["accuracy_plain"] == plain.accuracy > found.evidence["accuracy_augmented"] == strong.accuracy
    assert found.effect is None  # what a training without it would reach was not measured
    assert augmentation.find(plain, split(0.9, 128, seed=1), "mild", "") is None
    assert augmentation.find(split(0.3, 128, seed=1), split(0.28, 128, seed=3), "mild", "") is None  # nothing was learned at all


def test_every_line_that_a_rule_names_is_a_parameter_of_its_stage() -> None:
    root = Path(trained.__file__).parents[1]
    text = "\n".join(path.read_text() for path in (*root.glob("*.py"), *root.glob("diagnosis/*.py")))
    named = set(re.findall(r"stages\.(\w+)\.params\.([a-z_]\w*)", text))
    assert len(named) > 10
    for stage, parameter in named:
        assert parameter in inspect.signature(importlib.import_module(f"stages.{stage}").run).parameters, (stage, parameter)


def test_a_network_that_knows_its_images_by_heart_is_found_without_a_history() -> None:
    assert rules(trained.find(seen(1.0, 0.7, history=()))) == ["overfitting"]
    [stuck] = trained.find(seen(1.0, 0.25, history=()))
    assert stuck.rule == "validation-at-chance" and stuck.evidence["accuracy"] == 1.0
    assert trained.find(seen(0.9, 0.87, history=())) == []


def test_a_network_that_does_not_know_its_training_images_is_not_only_wrong_on_validation() -> None:
    course = history(FALLING, [0.99] * 8, FALLING, 0.95)
    [stuck] = trained.find(seen(0.25, 0.25, history=course))
    assert stuck.title == "All images stay at chance while training improves"
    assert "by its history, but 0.25 as the network is here" in stuck.cause
    [stuck] = trained.find(seen(0.99, 0.25, history=course))
    assert stuck.title == "Validation stays at chance while training improves"


@pytest.mark.parametrize(("best", "severity"), [(0.3, "error"), (0.6, "error"), (0.8, "warning"), (0.88, None), (0.95, None)])
def test_validation_that_the_history_tells_another_accuracy_of(best: float, severity: str | None) -> None:
    course = history(FALLING, [0.95] * 8, FALLING, best)
    skew = validation_skew.find(seen(0.97, 0.95, history=course))
    assert (skew and skew.severity) == severity
    assert not skew or (skew.effect and skew.effect.with_fix == 0.95)
    few = seen(0.97, split(0.95, images=20), history=history(FALLING, [0.95] * 8, FALLING, 0.8))
    assert validation_skew.find(few) is None  # so few images may say that by chance
    assert validation_skew.find(seen(0.97, 0.95, history=())) is None


def test_losses_that_are_no_cross_entropies_are_not_compared_with_guesses() -> None:
    flat = history([0.19] * 8, [0.25] * 8, [0.19] * 8, 0.25)
    assert "not-learning" not in rules(trained.find(seen(0.25, 0.25, history=flat, settings={"penalty": None})))
