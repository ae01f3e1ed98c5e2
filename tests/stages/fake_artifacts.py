"""Fabricated artifacts and records of a run's branches, as the stages hand them to evaluate, report and predict."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from kpipe.stage import Branch
from stages import formats
from stages.evaluation import calibration

CONTRACTS = {
    "model": {"channel_order": "bgr", "scale": 1.0, "offset": [-103.939, -116.779, -123.68]},
    "unit": {"channel_order": "rgb", "scale": 1 / 255, "offset": [0.0, 0.0, 0.0]},
}
PARAMETERS = {"resnet50": 23_608_202, "vgg16": 14_719_818}


@dataclass(frozen=True)
class Data:
    """A data set to fabricate: class names, images of each split, what could not be read."""

    name: str = "digits"
    classes: Sequence[str] = tuple("0123456789")
    train: int = 300
    validation: int = 100
    test: int = 100
    size: int = 8
    skipped: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Run:
    """A branch to fabricate: its axes, how good it is, what was found."""

    axes: dict[str, str | int | float | bool]
    model: str = "resnet50"
    backend: str = "tensorflow"
    accuracy: float = 0.95
    moving_accuracy: float | None = None
    scaling: str = "model"
    epochs: int = 8
    seconds: float = 42.0
    findings: Sequence[dict[str, Any]] = ()
    notices: Sequence[str] = ()
    params: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)  # more of training.json
    measures: dict[str, Any] = field(default_factory=dict)  # more of what the training measured
    latency: float | None = 0.0123  # seconds of one image; None: the evaluation measured neither latency nor size


def branches(folder: Path, runs: Iterable[Run], data: Data | None = None) -> list[Branch]:
    """The branches of a whole run below `folder`; they share one ingest artifact, as in a real run."""
    data = data or Data()
    ingest = write_ingest(folder / "ingest", data)
    return [branch(folder / f"branch-{number}", run, ingest, data) for number, run in enumerate(runs)]


def branch(folder: Path, run: Run, ingest: Path, data: Data) -> Branch:
    """One branch with its five inputs and their records."""
    inputs = {"ingest": ingest} | {need: folder / need for need in ("preprocess", "build", "train", "evaluate")}
    write_preprocess(inputs["preprocess"], run)
    write_build(inputs["build"], run)
    write_train(inputs["train"], run, data)
    write_evaluate(inputs["evaluate"], run, ingest, data)
    return Branch(axes=run.axes, inputs=inputs, records={need: record(need, run, data) for need in inputs})


def write_ingest(folder: Path, data: Data) -> Path:
    """images.npy, manifest.csv, dataset.json, audit.json."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"test": data.test, "train": data.train, "validation": data.validation}
    splits = [split for split, size in sizes.items() for _ in range(size)]
    labels = [data.classes[i % len(data.classes)] for i in range(len(splits))]
    paths = [f"{label}/{i:05d}.png" for i, label in enumerate(labels)]
    images = np.random.default_rng(0).integers(0, 256, (len(splits), data.size, data.size, 3), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    columns = {"row": range(len(splits)), "path": paths, "label": labels, "split": splits}
    hashes = [f"{i:064x}" for i in range(len(splits))]
    sniffed = {"hash": hashes, "width": 8, "height": 8, "mode": "L", "format": "PNG", "bytes": 90, "group": "", "fold": -1}
    manifest = pd.DataFrame(columns | sniffed)
    manifest.to_csv(folder / "manifest.csv", index=False)
    counts = {split: dict.fromkeys(data.classes, 0) for split in ("train", "validation", "test")}
    for split, label in zip(splits, labels, strict=True):
        counts[split][label] += 1
    dump(folder / "dataset.json", {
        "name": data.name, "source": data.name, "classes": list(data.classes), "image_size": [data.size, data.size],
        "resize": "stretch", "background": "white", "split": "by kpipe", "counts": counts,
    })  # fmt: skip
    dump(folder / "audit.json", {
        "files": len(splits) + len(data.skipped), "images": len(splits), "ignored": 1,
        "skipped": [{"path": path, "reason": reason} for path, reason in data.skipped],
        "formats": {"PNG": len(splits)}, "modes": {"L": len(splits)}, "sizes": {"min": [8, 8], "median": [8, 8], "max": [8, 8]},
        "counts": counts, "duplicates": {"across_splits": 0, "within": 0, "pairs": []}, "imbalance": 1.0,
    })  # fmt: skip
    return folder


NAMES = {"resnet50": "ResNet50", "vgg16": "VGG16"}


def write_preprocess(folder: Path, run: Run) -> None:
    """pixels.json, augment.json, checks.json, contact_sheet.png."""
    folder.mkdir(parents=True, exist_ok=True)
    contract = CONTRACTS[run.scaling]
    pixels = {
        "scaling": run.scaling,
        "backbone": run.model,
        "name": NAMES.get(run.model, run.model),
        "contract": contract,
        "weights_contract": CONTRACTS["model"],
    }
    dump(folder / "pixels.json", pixels)
    dump(folder / "augment.json", {"name": "none", "settings": {}, "validation": False, "seed": 0})
    dump(folder / "checks.json", [])
    noise = np.random.default_rng(1).integers(0, 256, (40, 160, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "contact_sheet.png")


def write_build(folder: Path, run: Run) -> None:
    """layers.json, pixels.json, and a stand-in for backbone.keras."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "backbone.keras").write_bytes(b"stand-in")
    counts = {"parameters": 9472, "trainable_parameters": 9472, "flops": 10**6}
    layer = {"name": "conv1_conv", "type": "Conv2D", "output_shape": [None, 4, 4, 64], **counts}
    whole = {"parameters": PARAMETERS[run.model], "flops": 10**8}
    dump(folder / "layers.json", {"layers": [layer], "backbone_layers": ["conv1_conv"], **whole})
    contract = CONTRACTS[run.scaling]
    dump(folder / "pixels.json", {"applied": contract, "expected": None, "scaling": run.scaling, "weights": "random"})


def write_train(folder: Path, run: Run, data: Data) -> None:
    """history.csv, training.json, and a stand-in for model.keras."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.keras").write_bytes(b"stand-in")
    epoch = np.arange(1, run.epochs + 1)
    rise = 1 - np.exp(-0.7 * epoch)
    history = pd.DataFrame({"epoch": epoch, "loss": 2.4 * (1 - rise) + 0.05, "accuracy": 0.98 * rise})
    watched = run.accuracy * rise
    if run.moving_accuracy is None:
        history = history.assign(val_loss=2.4 * (1 - rise) + 0.15, val_accuracy=watched)
    else:
        moving = {"val_loss": 2.2 + 7 * (1 - rise), "val_accuracy": run.moving_accuracy * rise}
        history = history.assign(**moving, val_loss_recalibrated=2.4 * (1 - rise) + 0.15, val_accuracy_recalibrated=watched)
    history.assign(learning_rate=1e-3).to_csv(folder / "history.csv", index=False)
    layers = {"resnet50": 53}.get(run.model, 0)
    used = "recalibrate" if run.moving_accuracy is not None else "frozen"
    dump(folder / "training.json", {
        "classes": list(data.classes), "unfreeze": "all", "unfrozen_layers": [], "frozen_prefix": None,
        "batchnorm": {"asked": "auto", "used": used, "layers": layers}, "loss": "categorical_crossentropy",
        "epochs_run": run.epochs, "epoch_chosen": run.epochs, "trainable_parameters": PARAMETERS[run.model],
        "parameters": PARAMETERS[run.model], "watched": "val_accuracy", "steps_per_epoch": 10, "batch_size": 32,
        "optimizer": "adam", "seed": 0, **run.training,
    })  # fmt: skip
    layer = {"name": "probabilities", "forward": 6000, "weights": 6000, "inputs": 0, "activation_bytes": 12}
    dump(folder / "costs.json", [{"cut": ["out"], "prefix_flops": 10**8, "step_flops": 12000, "layers": [layer]}])


def write_evaluate(folder: Path, run: Run, ingest: Path, data: Data) -> None:
    """predictions.csv, metrics.json, findings.json; wrong answers fall on images that are hard for every branch."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = pd.read_csv(ingest / "manifest.csv", dtype=str, keep_default_na=False)
    shown = manifest[manifest["split"] != "train"][["row", "path", "split", "label"]].reset_index(drop=True)
    rng = np.random.default_rng(zlib.crc32(repr(run.axes).encode()))
    hardness = np.random.default_rng(5).random(len(shown)) + 0.15 * rng.random(len(shown))
    wrong = hardness > shown.assign(h=hardness).groupby("split")["h"].transform("quantile", run.accuracy).to_numpy()
    truth = shown["label"].map(list(data.classes).index).to_numpy()
    predicted = np.where(wrong, (truth + 1) % len(data.classes), truth)
    probabilities = np.full((len(shown), len(data.classes)), 0.2 / max(len(data.classes) - 1, 1))
    probabilities[np.arange(len(shown)), predicted] = 0.8
    shares = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in data.classes])
    losses = -np.log(probabilities[np.arange(len(shown)), truth])
    answers = shown.assign(predicted=[data.classes[i] for i in predicted], correct=(~wrong).astype(int), loss=losses)
    pd.concat([answers, shares], axis=1).to_csv(folder / "predictions.csv", index=False)
    modes = {"inference": {"accuracy": run.accuracy, "loss": 0.1}, "batch_statistics": {"accuracy": run.accuracy, "loss": 0.1}}
    majority = answers.loc[shown["split"] == "test", "label"].mode()[0]
    metrics: dict[str, Any] = {"format": formats.METRICS, "classes": list(data.classes), "majority_class": majority}
    metrics["train_modes"] = {"images": 256, **modes}
    metrics |= {"parameters": PARAMETERS[run.model], "trainable_parameters": PARAMETERS[run.model]}
    parts = {split: (shown["split"] == split).to_numpy() for split in ("validation", "test")}
    for split, chosen in parts.items():
        metrics[split] = scores(truth[chosen], predicted[chosen], probabilities[chosen], list(data.classes))
    metrics["calibration"] = calibration.tell(*((probabilities[chosen], truth[chosen]) for chosen in parts.values()))
    dump(folder / "metrics.json", metrics)
    dump(folder / "findings.json", list(run.findings))
    write_explained(folder, answers[parts["test"]], probabilities[parts["test"]], list(data.classes))


def write_explained(folder: Path, answers: pd.DataFrame, probabilities: np.ndarray, classes: list[str]) -> None:
    """explained.json and heat.npy: twelve images, wrong ones first, and twelve right ones; every map is strongest elsewhere."""
    ranked = answers.sort_values("correct", kind="stable")
    groups = (("loss", ranked[:12]), ("right", ranked[12:][ranked[12:]["correct"] == 1][:12]))
    images: list[dict[str, Any]] = []
    numbers = itertools.count()
    for kind, some in groups:
        for place, line in some.iterrows():
            of = dict(zip(classes, map(float, probabilities[answers.index.get_loc(place)]), strict=True))
            names = dict.fromkeys((line["predicted"], line["label"]))
            said = {"label": line["label"], "predicted": line["predicted"], "loss": float(-np.log(of[line["label"]]))}
            chances = {"probability_of_label": of[line["label"]], "probability_of_predicted": of[line["predicted"]]}
            where = {"row": int(line["row"]), "path": line["path"], "maps": {name: next(numbers) for name in names}}
            images.append({"kind": kind, **where, **said, **chances})
    maps = next(numbers)
    heat = np.zeros((maps, 49), np.uint8)
    heat[np.arange(maps), np.arange(maps) % 49] = 255
    np.save(folder / "heat.npy", heat.reshape(-1, 7, 7))
    dump(folder / "explained.json", {"layer": "conv5_block3_out", "places": [7, 7], "last": True, "images": images})


def scores(truth: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> dict[str, Any]:
    """The metrics of one split, as evaluate writes them."""
    order = list(range(len(classes)))
    n, accuracy = len(truth), float(np.mean(truth == predicted))
    z = 1.959964
    centre = (accuracy + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(accuracy * (1 - accuracy) / n + z * z / (4 * n * n))
    columns = precision_recall_fscore_support(truth, predicted, labels=order, zero_division=0)
    names = ("precision", "recall", "f1", "support")
    per_class = {name: {k: float(column[i]) for k, column in zip(names, columns, strict=True)} for i, name in enumerate(classes)}
    return {
        "images": n,
        "accuracy": accuracy,
        "accuracy_interval": [float(centre - half), float(centre + half)],
        **with_interval("macro_f1", float(np.mean(columns[2]))),
        **with_interval("log_loss", float(log_loss(truth, probabilities, labels=order))),
        **with_interval("auc", 0.9),
        "confusion": confusion_matrix(truth, predicted, labels=order).tolist(),
        "per_class": per_class,
        "majority_accuracy": float(np.bincount(truth, minlength=len(classes)).max() / n),
    }


def with_interval(name: str, value: float) -> dict[str, Any]:
    """A metric between two ends."""
    return {name: value, f"{name}_interval": [value - 0.02, value + 0.02]}


def record(need: str, run: Run, data: Data) -> dict[str, Any]:
    """How an artifact came to be, as the engine tells it."""
    packages = {"keras": "3.15.1", run.backend: "2.21.0"}
    formats = {"floatx": "float32", "image_data_format": "channels_last", "device": "cpu"}
    keras = {"backend": run.backend, "packages": packages, **formats}
    with_keras = need in ("build", "train", "evaluate")
    params: dict[str, dict[str, Any]] = {
        "ingest": {"source": data.name, "image_size": data.size, "seed": 7},
        "preprocess": {"model": run.model, "scaling": run.scaling},
        "build": {"model": run.model, "weights": "random"},
        "train": {"epochs": run.epochs, **run.params},
        "evaluate": {},
    }
    identity = f"{need}-{run.model}-{run.backend if with_keras else ''}-{run.axes if need != 'ingest' else ''}"
    digest = f"{zlib.crc32(identity.encode()):08x}" * 8
    measures: dict[str, dict[str, Any]] = {
        "ingest": {"decode_seconds": 3.21},
        "train": {
            "train_seconds": run.seconds, "images_per_second": 230.4, "peak_memory_bytes": 1.4e9, "device": "cpu (AVX-512)",
            "devices": 1, "prefix_seconds": 12.3, "first_step_seconds": 5.43, "compile_seconds": 4.56,
            "step_seconds": 7.89, "validation_seconds": 1.26, "forward_flops": 7.71e9, "prefix_flops": 6.9e9, "step_flops": 2.43e9,
            "activation_bytes": 3 * 2**30, "tail_activation_bytes": 160 * 2**10, "peak_flops_per_second": 4e11,
            "prefix_flops_per_second": 3.12e11, "prefix_share_of_peak": 0.78, "train_flops_per_second": 1.6e11,
            "train_share_of_peak": 0.4, **run.measures,
        },
        "evaluate": {"evaluate_seconds": 6.54, "images_per_second": 512.0, "device": "cpu (AVX-512)"} | (
            latencies(run.latency) if run.latency is not None else {}
        ),
    }  # fmt: skip
    return {
        "stage": f"stages.{need}",
        "key": {"params": params[need], "python": "3.11", "packages": {"numpy": "2.4.6"}, "keras": keras if with_keras else None},
        "key_digest": digest,
        "output_digest": digest[::-1],
        "created": "2026-01-02T03:04:05Z",
        "host": {"machine": "x86_64", "cpu": "Example CPU", "cores": 2, "memory_bytes": 8 * 2**30, "gpu": []},
        "seconds": run.seconds + 1,
        "measures": measures.get(need, {}),
        "notices": list(run.notices) if need == "train" else [],
        "git": "0123456789abcdef0123456789abcdef01234567",
    }


def latencies(seconds: float) -> dict[str, Any]:
    """What evaluate measures on the saved network."""
    one = {"seconds": seconds, "p95_seconds": 1.5 * seconds, "calls": 120}
    many = {"seconds": 8 * seconds, "p95_seconds": None, "calls": 15}
    told = {f"latency_batch_{size}_{name}": value for size, part in ((1, one), (32, many)) for name, value in part.items()}
    return {**told, "model_bytes": 95 * 2**20}


def dump(path: Path, value: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")
