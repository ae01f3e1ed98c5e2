"""Tables over the branches of a run: pure functions from results to pandas tables and records."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

import pandas as pd

from stages.reporting import costs, same_weights
from stages.reporting.results import Result
from stages.reporting.scores import network_columns
from stages.reporting.trainings import groups
from stages.reporting.wording import listing, plural

SEVERITIES = ("error", "warning", "note")
NAMED = 24  # combinations that no branch has


def report_table(results: list[Result]) -> pd.DataFrame:
    """One row a branch: its axes, then every number that was measured; what is not known stays empty.

    An axis that is called like a column that follows, as `network` or `temperature`, is the column `axis_network`.
    """
    of_networks = network_columns(groups(results))
    measured = [_row(result) | of_networks.get(result.number, {}) for result in results]
    names = _axis_columns((axis for result in results for axis in result.axes), set().union(*measured))
    axes = [{names[axis]: value for axis, value in result.axes.items()} for result in results]
    return pd.DataFrame([own | row for own, row in zip(axes, measured, strict=True)])


def _axis_columns(axes: Iterable[str], taken: set[str]) -> dict[str, str]:
    """The name of each axis' column: the axis' own wherever it is free."""
    names: dict[str, str] = {}
    for axis in sorted(set(axes), key=lambda axis: (axis in taken, axis)):
        column = axis
        while column in taken or column in names.values():
            column = f"axis_{column}"
        names[axis] = column
    return names


def _row(result: Result) -> dict[str, Any]:
    metrics, training = result.metrics, result.training
    severities = [finding["severity"] for finding in result.findings]
    return {
        "branch": result.label,
        "network": result.model,
        "keras_backend": result.backend.lower(),
        **_split_columns("test", metrics["test"]),
        **_split_columns("validation", metrics["validation"]),
        **_training_columns(metrics.get("train_modes") or {}),
        "parameters": metrics.get("parameters"),
        "trainable_parameters": metrics.get("trainable_parameters"),
        **costs.columns(result),
        **same_weights.columns(result),
        "images_per_second": result.measure("train", "images_per_second"),
        "evaluate_images_per_second": result.measure("evaluate", "images_per_second"),
        "peak_memory_bytes": result.measure("train", "peak_memory_bytes"),
        "majority_accuracy": metrics["test"]["majority_accuracy"],
        "epochs_run": training.get("epochs_run"),
        "epoch_chosen": training.get("epoch_chosen"),
        "temperature": metrics["calibration"]["temperature"],
        "calibration_error": metrics["calibration"]["before"]["error"],
        "findings": ";".join(sorted({finding["rule"] for finding in result.findings})),
        **{f"findings_{severity}": severities.count(severity) for severity in SEVERITIES},
    }


def _split_columns(split: str, scores: dict[str, Any]) -> dict[str, Any]:
    low, high = scores["accuracy_interval"]
    return {
        f"{split}_images": scores["images"],
        f"{split}_accuracy": scores["accuracy"],
        f"{split}_accuracy_low": low,
        f"{split}_accuracy_high": high,
        **{
            column: value for name in ("macro_f1", "auc", "log_loss") for column, value in _with_ends(split, name, scores).items()
        },
    }


def _with_ends(split: str, name: str, scores: dict[str, Any]) -> dict[str, Any]:
    low, high = scores[f"{name}_interval"] or (None, None)
    return {f"{split}_{name}": scores[name], f"{split}_{name}_low": low, f"{split}_{name}_high": high}


def _training_columns(modes: dict[str, Any]) -> dict[str, Any]:
    return {
        f"train_{measure}{suffix}": (modes.get(mode) or {}).get(measure)
        for mode, suffix in (("inference", ""), ("batch_statistics", "_batch_statistics"))
        for measure in ("accuracy", "loss")
    }


def per_class(result: Result) -> pd.DataFrame:
    """Precision, recall, F1 and number of test images of every class, in the order of the classes."""
    scores = result.metrics["test"]["per_class"]
    return pd.DataFrame([{"class": name, **scores[name]} for name in result.metrics["classes"]])


def f1_by_class(results: list[Result]) -> pd.DataFrame:
    """Test F1 of every class (rows) in every branch (columns), the hardest class first."""
    columns = {result.label: per_class(result).set_index("class")["f1"] for result in results}
    table = pd.DataFrame(columns)
    return table.loc[table.mean(axis=1).sort_values(kind="stable").index]


def confusions(result: Result, most: int = 5) -> list[tuple[str, str, int]]:
    """The most frequent mistakes on the test images: true class, predicted class, number of images."""
    classes, counts = result.metrics["classes"], result.metrics["test"]["confusion"]
    pairs = [
        (truth, predicted, int(counts[i][j]))
        for i, truth in enumerate(classes)
        for j, predicted in enumerate(classes)
        if i != j and counts[i][j]
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:most]


@dataclass(frozen=True)
class Reestimation:
    """Validation accuracy of one branch at its chosen epoch: on the moving statistics, and re-estimated."""

    result: Result
    epoch: int
    moving: float
    reestimated: float


def reestimations(results: list[Result]) -> list[Reestimation]:
    """What re-estimating the BatchNorm statistics changed, for every branch where it was done."""
    told = []
    for result in results:
        if "val_accuracy_recalibrated" not in result.history:
            continue
        epoch = int(result.training["epoch_chosen"])
        row = result.history[result.history["epoch"] == epoch].iloc[0]
        told.append(Reestimation(result, epoch, float(row["val_accuracy"]), float(row["val_accuracy_recalibrated"])))
    return told


@dataclass
class Finding:
    """One finding, and every branch that it was made in (with the evidence there)."""

    record: dict[str, Any]
    seen: list[tuple[Result, dict[str, Any]]] = field(default_factory=list)


def findings(results: list[Result]) -> list[Finding]:
    """The findings of all branches, equal ones together; errors first, then those seen most often."""
    groups: dict[tuple[str, ...], Finding] = {}
    for result in results:
        for record in result.findings:
            identity = tuple(str(record.get(part)) for part in ("rule", "severity", "title", "fix"))
            groups.setdefault(identity, Finding(record)).seen.append((result, record))
    return sorted(groups.values(), key=lambda group: (SEVERITIES.index(group.record["severity"]), -len(group.seen)))


def missing_combinations(results: list[Result]) -> list[str]:
    """Labels of the combinations of the axes' values that no branch has, excluded or failed; of many the first, and how many more
    there are."""
    if not results:
        return []
    axes = list(results[0].axes)
    values = [list(dict.fromkeys(result.axes.get(axis) for result in results)) for axis in axes]
    seen = {tuple(result.axes.get(axis) for axis in axes) for result in results}
    absent = (",".join(map(str, combination)) for combination in product(*values) if combination not in seen)
    named = list(islice(absent, NAMED))
    more = math.prod(map(len, values)) - len(seen) - len(named)
    return [*named, plural(more, "more combination")] if more else named


def title(results: list[Result]) -> str:
    """`ResNet50 and VGG16 on digits, TensorFlow and JAX`: models, data sets, backends, each once."""
    models = listing(list(dict.fromkeys(result.model for result in results)))
    data = listing(list(dict.fromkeys(str(result.dataset["name"]) for result in results)))
    backends = list(dict.fromkeys(result.backend for result in results if result.backend))
    return f"{models} on {data}" + (f", {listing(backends)}" if backends else "")
