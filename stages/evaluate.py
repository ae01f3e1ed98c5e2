"""Evaluate the trained network: predictions, metrics, what it costs, and the measured findings."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage
from stages import formats, json_files
from stages.data.labels import Labels, sample
from stages.diagnosis import branch, small_batches, untrained
from stages.diagnosis.finding import Finding, say
from stages.evaluation import calibration, explained, metrics
from stages.evaluation.trained import Trained, check_from_pixels
from stages.network import batchnorm, device, latency
from stages.network.feed import Feed
from stages.network.scores import cross_entropies, loss_and_accuracy

BOTH_MODES = 512  # training images that are looked at in both BatchNormalization modes
HEADLINE = {  # what the history of runs shows: name -> split, metric, which is better
    "test_accuracy": ("test", "accuracy", "higher"),
    "validation_accuracy": ("validation", "accuracy", "higher"),
    "test_log_loss": ("test", "log_loss", "lower"),
}


def run(stage: Stage) -> None:
    """Write predictions.csv, metrics.json, findings.json, and explained.json with heat.npy, for validation and test images."""
    began = time.perf_counter()
    trained, rows, probabilities = judge(stage)
    explained.write(stage, trained, rows, probabilities)
    stage.measure(
        peak_memory_bytes=device.peak_memory_bytes(),
        model_bytes=(stage.inputs["train"] / "model.keras").stat().st_size,
        **latency.measures(trained.network, trained.pixels.take(rows[: max(latency.BATCHES)])),
    )
    stage.measure(evaluate_seconds=time.perf_counter() - began)


def judge(stage: Stage) -> tuple[Trained, NDArray[np.int64], NDArray[np.float32]]:
    """Write predictions.csv, metrics.json and findings.json; the network, and the rows and probabilities of the test images."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    stage.measure(device=device.prepare())
    trained = Trained.read(stage)
    rows = trained.labels.rows("validation", "test")
    predicting = time.perf_counter()
    probabilities = trained.feed.predict(rows, lambda done: stage.progress(done, len(rows)))
    stage.measure(images_per_second=len(rows) / (time.perf_counter() - predicting))
    check_from_pixels(stage, trained, rows, probabilities)
    write_predictions(stage.out / "predictions.csv", trained.labels, rows, probabilities)
    predicted = {split: chosen_from(trained, split, rows, probabilities) for split in ("validation", "test")}
    predicted["train"], modes = both_modes(trained)
    json_files.write(stage.out / "metrics.json", tell(trained, predicted, modes))
    found = findings(stage, trained, predicted, modes)
    say(stage, found)
    json_files.write(stage.out / "findings.json", [finding.to_json() for finding in (*checked(stage), *found)])
    return trained, *predicted["test"]


def write_predictions(path: Path, labels: Labels, rows: NDArray[np.int64], probabilities: NDArray[np.float32]) -> None:
    """One row an image, in manifest order; probabilities in the fewest digits that give the float32 back exactly.

    `loss` is the image's cross-entropy in nats.
    """
    losses = cross_entropies(probabilities, labels.index[rows]).astype(np.float32)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        columns = ["row", "path", "split", "label", "predicted", "correct", "loss"]
        table.writerow([*columns, *(f"p_{name}" for name in labels.classes)])
        for row, probability, loss in zip(rows, probabilities, losses, strict=True):
            item, predicted = labels.items[row], labels.classes[int(probability.argmax())]
            known = [item.row, item.path, item.split, item.label, predicted, int(predicted == item.label), loss]
            table.writerow([*known, *(str(p) for p in probability)])


def chosen_from(
    trained: Trained, split: str, rows: NDArray[np.int64], probabilities: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The rows that belong to a split, and their probabilities."""
    chosen = np.isin(rows, trained.labels.rows(split))
    return rows[chosen], probabilities[chosen]


def both_modes(trained: Trained) -> tuple[tuple[NDArray[np.int64], NDArray[np.float32]], dict[str, Any]]:
    """Some training images with their probabilities, and their accuracy and loss in inference mode and in batch mode.

    Batch statistics are those of the layers that learned, in batches of training's size; without any, both are the same.
    Where these are small, larger ones are taken beside, with the share of images that are named differently there.
    """
    size, names = trained.training["batch_size"], trained.training["batchnorm"]["names"]
    larger = small_batches.larger(size) if names else size
    rows = sample(trained.labels.rows("train"), BOTH_MODES, 0)
    larger = larger if len(rows) >= larger else size
    rows = rows[: max(len(rows) // larger, 1) * larger]
    sizes = {"batch_statistics": size} | ({"larger_batches": larger} if larger > size else {})
    results = {"inference": trained.feed.predict(rows)}
    results["batch_statistics"] = results["inference"]
    if names:
        mode = Feed(batchnorm.batch_mode(trained.feed.model, names).output, trained.feed.arrays)
        for name, images in sizes.items():
            results[name] = np.concatenate([out[0] for out in mode.outputs(rows, batch_size=min(images, len(rows)))])
    told = {name: loss_and_accuracy(values, trained.labels.index[rows]) for name, values in results.items()}
    modes: dict[str, Any] = {name: {"loss": loss, "accuracy": accuracy} for name, (loss, accuracy) in told.items()}
    if larger > size:
        changed = results["larger_batches"].argmax(axis=1) != results["batch_statistics"].argmax(axis=1)
        modes["larger_batches"] |= {"batch_size": larger, "changed": float(changed.mean())}
    return (rows, results["inference"]), {"images": len(rows), **modes}


def tell(trained: Trained, predicted: branch.Predicted, modes: dict[str, Any]) -> dict[str, Any]:
    """metrics.json."""
    classes = trained.labels.classes
    majority = int(np.bincount(trained.labels.index[trained.labels.rows("train")]).argmax())
    told: dict[str, Any] = {
        "format": formats.METRICS,
        "classes": classes,
        "majority_class": classes[majority],
        "train_modes": modes,
    }
    judged = {
        split: (predicted[split][1].astype(np.float64), trained.labels.index[predicted[split][0]])
        for split in ("validation", "test")
    }
    for split, (probabilities, labels) in judged.items():
        told[split] = metrics.of_split(probabilities, labels, classes, majority)
    told["calibration"] = calibration.tell(judged["validation"], judged["test"])
    told["headline"] = {
        name: {"value": told[split][metric], "better": better} for name, (split, metric, better) in HEADLINE.items()
    }
    return {**told, **{name: trained.training[name] for name in ("parameters", "trainable_parameters")}}


def findings(stage: Stage, trained: Trained, predicted: branch.Predicted, modes: dict[str, Any]) -> list[Finding]:
    """What every rule found, but for those of the stage check where it ran: it has said them."""
    before = [] if "check" in stage.inputs else untrained.find(stage, trained.labels)
    return [*before, *branch.find(stage, trained, predicted, modes, [*checked(stage), *before])]


def checked(stage: Stage) -> list[Finding]:
    """What the stage check found before training, where the pipeline has it."""
    folder = stage.inputs.get("check")
    return [Finding.from_json(told) for told in json_files.read(folder / "findings.json")] if folder else []
