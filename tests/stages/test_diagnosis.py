"""The findings: each fires on an injected fault, with the measured effect of its fix, and is silent on a healthy run."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from stages import check, evaluate, train
from stages.data import copies, manifest
from stages.data.labels import Labels
from stages.diagnosis import batchnorm_gap, branch, input_scale, probe, small_batches, untrained
from stages.diagnosis.finding import Effect
from stages.evaluation.trained import Trained
from stages.network import batchnorm
from stages.pixels import CONTRACTS, Contract, apply
from tests.stages import tiny


def sample() -> input_scale.Sample:
    """Images in which one channel is brighter, by class."""
    labels = np.arange(240) % 3
    images = np.random.default_rng(0).integers(0, 120, (240, tiny.SIZE, tiny.SIZE, 3))
    images[np.arange(240), :, :, 2 - labels] += 60
    return input_scale.Sample(images.astype(np.uint8), labels.astype(np.int32))


def trained_on(contract: str, given: str) -> keras.Model:
    """A backbone whose first BatchNormalization remembers pixels of one contract and that is given those of another."""
    model = tiny.backbone(CONTRACTS[given])
    entering = keras.Model(model.get_layer("pixels").output, model.get_layer("conv1").output).predict(
        apply(CONTRACTS[contract], sample().images), verbose=0
    )
    batchnorm.assign(model, {"bn1": (entering.mean((0, 1, 2)), entering.var((0, 1, 2)))})
    return model


@pytest.mark.parametrize("contract", CONTRACTS)
def test_pixels_as_the_weights_want_them_are_no_finding(contract: str) -> None:
    assert input_scale.find(input_scale.Entry.of(trained_on(contract, contract)), sample(), CONTRACTS[contract]) is None


@pytest.mark.parametrize("given", ["unit", "symmetric", "torch", "none"])
def test_other_pixels_than_the_weights_were_trained_on_are_found(given: str) -> None:
    found = input_scale.find(input_scale.Entry.of(trained_on("caffe", given)), sample(), CONTRACTS["caffe"])
    assert found is not None
    assert (found.rule, found.fix) == ("input-scale", 'stages.preprocess.params.scaling = "model"')
    assert found.evidence["range"] == pytest.approx(
        [apply(CONTRACTS[given], sample().images).min(), apply(CONTRACTS[given], sample().images).max()]
    )
    assert found.evidence["distance_nats"] > 10 * found.evidence["distance_expected_nats"]  # type: ignore[operator]
    assert found.effect is not None
    assert 0 <= found.effect.as_configured <= 1


def test_what_the_right_pixels_are_worth_is_measured() -> None:
    """Filters that fire for no pixel of 0..1, as those of published weights hardly do, tell no class; the right pixels do."""
    image = keras.Input((tiny.SIZE, tiny.SIZE, 3))
    convolution = keras.layers.Conv2D(3, 1, activation="relu")
    body = keras.Model(image, convolution(image))
    convolution.set_weights([np.eye(3, dtype=np.float32)[None, None], np.full(3, -30, np.float32)])
    right, shown = keras.Model(image, image), keras.Model(image, keras.layers.Rescaling(1 / 255)(image))
    raw = Contract("rgb", 1.0, (0.0, 0.0, 0.0))
    assert input_scale.find(input_scale.Entry("net", right, body, None), sample(), raw) is None
    found = input_scale.find(input_scale.Entry("net", shown, body, None), sample(), raw)
    assert found is not None and found.effect is not None and found.severity == "error"
    assert found.effect.as_configured < 0.5 and found.effect.with_fix > 0.95


@pytest.mark.parametrize(
    ("as_configured", "with_fix", "severity"),
    [(0.5, 0.9, "error"), (0.8, 0.91, "error"), (0.85, 0.92, "warning"), (0.9, 0.93, "note"), (0.9, 0.6, "note")],
)
def test_a_wrong_scaling_is_as_serious_as_what_it_costs(as_configured: float, with_fix: float, severity: str) -> None:
    assert input_scale.severity(Effect(as_configured, with_fix, "")) == severity


def test_swapped_channels_are_found_though_the_range_is_right() -> None:
    images = sample().images // np.array([1, 2, 4], np.uint8)
    swapped = Contract("bgr", 1 / 255, (0.0, 0.0, 0.0))
    coloured = input_scale.Sample(images, sample().labels)
    assert input_scale.find(input_scale.Entry.of(tiny.backbone(swapped)), coloured, swapped) is None
    found = input_scale.find(input_scale.Entry.of(tiny.backbone(swapped)), coloured, CONTRACTS["unit"])
    assert found is not None
    assert found.evidence["channel_means"] == pytest.approx(found.evidence["channel_means_expected"][::-1])  # type: ignore[index]


def test_weights_that_were_trained_on_other_pixels_than_said_are_found() -> None:
    found = input_scale.find(input_scale.Entry.of(trained_on("unit", "caffe")), sample(), CONTRACTS["caffe"])
    assert found is not None
    assert found.fix == 'stages.build.params.weights_scaling = "unit"'


def test_a_probe_tells_features_with_a_signal_from_noise() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 512).astype(np.int32)
    noise = rng.normal(size=(512, 20)).astype(np.float32)
    assert probe.accuracy(noise, labels) < 0.65
    assert probe.accuracy(noise + 3 * labels[:, None], labels) > 0.95
    assert probe.accuracy(noise, np.zeros(512, np.int32)) == 1.0


def modes(inference: float, batch: float) -> dict[str, Any]:
    told = {"inference": {"accuracy": inference, "loss": 1.0}, "batch_statistics": {"accuracy": batch, "loss": 0.1}}
    return {"images": 200, **told}


@pytest.mark.parametrize(("inference", "severity"), [(0.2, "error"), (0.85, "warning"), (0.95, None), (1.0, None)])
def test_a_gap_between_batchnorm_modes_is_found_by_its_size(inference: float, severity: str | None) -> None:
    found = batchnorm_gap.find("train", modes(inference, 0.97), {"val_accuracy": inference}, lambda: 0.96)
    assert (found and found.severity) == severity
    if found:
        assert found.fix == 'stages.train.params.batchnorm = "recalibrate"'
        assert found.effect is not None
        assert (found.effect.as_configured, found.effect.with_fix) == (inference, 0.96)


@pytest.mark.parametrize(("images", "told"), [(20, False), (40, False), (60, True), (512, True)])
def test_a_gap_of_a_few_images_is_none(images: int, told: bool) -> None:
    found = batchnorm_gap.find("train", modes(0.85, 0.95) | {"images": images}, {"val_accuracy": 0.85}, lambda: 0.9)
    assert (found is not None) == told


def test_a_gap_that_was_cured_is_a_note() -> None:
    epoch = {"val_accuracy": 0.2, "val_accuracy_recalibrated": 0.95, "val_loss": 5.0, "val_loss_recalibrated": 0.2}
    found = batchnorm_gap.find("recalibrate", modes(0.97, 0.97), epoch, lambda: 0.0)
    assert found is not None
    assert (found.severity, found.fix) == ("note", None)
    healthy = {**epoch, "val_accuracy": 0.94}
    assert batchnorm_gap.find("recalibrate", modes(0.97, 0.97), healthy, lambda: 0.0) is None


def findings(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "findings.json").read_text()))


@pytest.mark.slow
def test_lagging_statistics_are_found_in_a_run_and_the_fix_measured(tmp_path: Path) -> None:
    run = tiny.start(tmp_path, applied=CONTRACTS["none"])  # the moving averages start at 0 and 1, far from these pixels
    run.run(
        "train",
        train.run,
        epochs=3,
        batch_size=16,
        learning_rate=0.01,
        unfreeze="all",
        units=16,
        pooling="flatten",
        batchnorm="train",
    )
    evaluated = run.stage("evaluate")
    evaluate.run(evaluated)
    (found,) = findings(evaluated.out)
    assert found["rule"] == "batchnorm-gap"
    (notice,) = evaluated.notices  # what the terminal shows
    assert notice.startswith(f"{found['severity']}: {found['title']}") and found["fix"] in notice
    assert found["effect"]["with_fix"] > found["effect"]["as_configured"] + 0.1
    steps = 4 * json.loads((run.inputs["train"] / "training.json").read_text())["epoch_chosen"]  # 60 images, 16 at a time
    assert (found["evidence"]["momentum"], found["evidence"]["steps"]) == (0.99, steps)
    assert found["evidence"]["share_from_before"] == pytest.approx(0.99**steps)
    assert f"{steps} steps with a momentum of 0.99 are too few" in found["cause"]


@pytest.mark.parametrize(("steps", "said"), [(0, "100 %"), (75, "47 %"), (298, "5 %"), (299, None), (5000, None)])
def test_statistics_from_before_the_training_are_told_where_steps_were_too_few(steps: int, said: str | None) -> None:
    found = batchnorm_gap.find(
        "train", modes(0.2, 0.97), {"val_accuracy": 0.2}, lambda: 0.9, batchnorm_gap.remembered(0.99, steps)
    )
    assert found is not None
    assert ("too few" in found.cause) == (said is not None) and (said or "") in found.cause


@pytest.mark.slow
def test_only_steps_in_which_batchnorm_learned_moved_its_statistics(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    phases = [{"unfreeze": 0, "epochs": 2}, {"unfreeze": "all", "epochs": 3}]
    run.run("train", train.run, batch_size=16, phases=phases, batchnorm="train")
    trained = Trained.read(run.stage("evaluate"))
    history = branch.read_history(run.inputs["train"] / "history.csv")
    assert branch.memory(trained, history)["steps"] == 3 * 4
    assert branch.memory(trained, history[:3])["steps"] == 4
    run.run("train", train.run, batch_size=16, epochs=1, unfreeze=0)
    assert branch.memory(Trained.read(run.stage("evaluate")), history) == {}


def larger_batches(changed: float, accuracy: float = 0.9) -> dict[str, Any]:
    return modes(0.5, 0.6) | {"larger_batches": {"accuracy": accuracy, "loss": 0.3, "batch_size": 32, "changed": changed}}


def test_batches_that_are_too_small_for_batchnorm_are_found_by_what_they_cost() -> None:
    assert small_batches.find(16, modes(0.9, 0.9)) is None
    assert small_batches.find(2, larger_batches(0.1)) is None
    found = small_batches.find(2, larger_batches(0.3))
    assert found is not None and found.effect is None  # what re-estimated statistics would reach on other images was not measured
    told = [found.evidence[f"train_accuracy{which}"] for which in ("", "_small", "_larger")]
    assert told == [0.5, 0.6, 0.9]
    assert "30 %" in found.cause and found.fix == 'stages.train.params.batchnorm = "recalibrate"'
    assert small_batches.find(2, larger_batches(0.3, 0.54)) is None  # names that were doubtful anyhow
    assert small_batches.find(2, larger_batches(0.3, 0.4)) is None  # the network as it is does better
    recalibrated = small_batches.find(2, larger_batches(0.3), recalibrated=True)
    assert recalibrated is not None and recalibrated.fix == "stages.train.params.batch_size = 32"
    assert [small_batches.larger(size) for size in (1, 2, 3, 5, 8, 15, 16, 20, 64)] == [32, 32, 33, 35, 32, 45, 16, 20, 64]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch_size", "batchnorm", "expected"),
    [(2, "train", True), (2, "recalibrate", False), (15, "train", False), (2, "frozen", False)],
)
def test_small_batches_are_found_in_a_run(tmp_path: Path, batch_size: int, batchnorm: str, expected: bool) -> None:
    run = tiny.start(tmp_path, images=180)
    run.run("train", train.run, epochs=1, batch_size=batch_size, learning_rate=0.01, unfreeze="all", batchnorm=batchnorm)
    evaluated = run.stage("evaluate")
    evaluate.run(evaluated)
    assert ("small-batches" in [found["rule"] for found in findings(evaluated.out)]) == expected
    told = json.loads((evaluated.out / "metrics.json").read_text())["train_modes"]
    assert ("larger_batches" in told) == (batchnorm != "frozen")
    assert told["images"] % (32 if batch_size == 2 and batchnorm != "frozen" else batch_size) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"unfreeze": 0}, {"unfreeze": 4}, {"unfreeze": "all"}, {"unfreeze": 4, "activations": "off"}]
)
def test_units_that_never_fire_are_counted_from_every_cut(tmp_path: Path, settings: dict[str, Any]) -> None:
    run = tiny.start(tmp_path)
    run.run("train", train.run, epochs=1, units=8, pooling="flatten", **settings)
    trained = Trained.read(run.stage("evaluate"))
    rows = trained.labels.rows("train")
    hidden = next(layer for layer in trained.network.layers if isinstance(layer, keras.layers.Dense))
    kernel, bias = hidden.get_weights()
    hidden.set_weights([kernel, np.where(np.arange(8) < 6, -1e6, bias)])
    assert branch.silent(trained, rows)[hidden.name] >= 0.75


@pytest.mark.slow
def test_training_with_steps_that_are_too_large_is_found(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    how: dict[str, Any] = {
        "epochs": 16,
        "batch_size": 30,
        "learning_rate": 100.0,
        "unfreeze": 4,
        "units": 8,
        "pooling": "flatten",
    }
    run.run("train", train.run, **how)
    found = findings(run.run("evaluate", evaluate.run))
    assert [(finding["rule"], finding["fix"]) for finding in found if finding["severity"] == "error"] == [
        ("learning-rate-high", 'stages.train.params.learning_rate = "find"')
    ]


@pytest.mark.slow
def test_a_healthy_run_has_no_findings(tmp_path: Path) -> None:
    run = tiny.start(tmp_path, expected=tiny.UNIT)
    run.run("train", train.run, epochs=3, learning_rate=0.01)
    assert findings(run.run("evaluate", evaluate.run)) == []


@pytest.mark.slow
def test_near_copies_that_ingest_found_are_leaks(tmp_path: Path) -> None:
    run = tiny.start(tmp_path, expected=tiny.UNIT)
    run.run("train", train.run, epochs=3, learning_rate=0.01)
    items = manifest.read(run.inputs["ingest"] / "manifest.csv")
    validation, test, training = ([item.row for item in items if item.split == s] for s in ("validation", "test", "train"))
    groups = np.array([item.row for item in items])
    groups[validation[:3]] = groups[training[:3]]
    groups[test[0]] = groups[test[1]]  # no leak
    copies.write(run.inputs["ingest"], items, groups)
    (found,) = findings(run.run("evaluate", evaluate.run))
    assert (found["rule"], found["evidence"]) == ("leakage", {"validation_leaked": 3})


@pytest.mark.slow
def test_wrong_scaling_is_found_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_scale, "severity", lambda effect: "error")  # a tiny network does without the right pixels
    run = tiny.start(tmp_path, expected=CONTRACTS["caffe"])
    run.run("train", train.run, epochs=1)
    evaluated = run.stage("evaluate")
    evaluate.run(evaluated)
    (found,) = findings(evaluated.out)
    assert found["rule"] == "input-scale"
    assert found["evidence"]["range_expected"][0] < -50
    assert len(evaluated.notices) == 1


@pytest.mark.slow
def test_wrong_scaling_is_said_before_training_and_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_scale, "severity", lambda effect: "error")
    run = tiny.start(tmp_path, expected=CONTRACTS["caffe"])
    early = run.stage("check")
    check.run(early)
    assert len(early.notices) == 1 and "pixels that its weights never saw" in early.notices[0]
    monkeypatch.setattr(input_scale, "find", None)  # what was measured is known now
    run.run("train", train.run, epochs=1)
    alone = findings(run.run("evaluate", evaluate.run))
    run.inputs["check"] = early.out
    evaluated = run.stage("evaluate")
    evaluate.run(evaluated)
    assert findings(evaluated.out) == findings(early.out) == alone
    assert evaluated.notices == []  # they were said


def test_what_was_measured_for_other_images_or_weights_is_not_taken(tmp_path: Path) -> None:
    told = []
    for name, images, applied in (("a", 90, tiny.UNIT), ("b", 96, tiny.UNIT), ("c", 90, CONTRACTS["none"])):
        run = tiny.start(tmp_path / name, images=images, applied=applied, expected=CONTRACTS["caffe"])
        stage = run.stage("train")
        stage._store = tmp_path / "store"
        untrained.find(stage, Labels(run.inputs["ingest"]))
        told.append(len(list((tmp_path / "store" / "memo" / "diagnosis").glob("*/*.json"))))
    assert told == [1, 2, 3]
