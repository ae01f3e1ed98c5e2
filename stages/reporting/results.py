"""What one branch of a run left behind, read for the report and for predict."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from kpipe.stage import Branch
from stages import formats, json_files

NEEDS = ("ingest", "preprocess", "build", "train", "evaluate")
MEASURED = {"leakage": ("copies-across-splits", "near-copies-across-splits")}  # a finding -> what it says with less
SLUG = 60  # characters of a label in the name of a file, of which a file system takes 255 bytes
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}


@dataclass(frozen=True)
class Result:
    """One branch: its axes, its artifacts (read when asked for) and the records of how they came to be.

    `number` counts the branches of a report from 1; figures refer to branches by it.
    """

    number: int
    branch: Branch

    @property
    def axes(self) -> Mapping[str, Any]:
        return self.branch.axes

    @property
    def label(self) -> str:
        """The branch's label, or its backbone where the run has no matrix."""
        return self.branch.label if self.axes else self.backbone

    @cached_property
    def backbone(self) -> str:
        """The backbone's module name, for instance resnet50."""
        return str(self.pixels.get("backbone", "network")).rpartition(".")[2]

    @property
    def model(self) -> str:
        """The backbone's name as the field writes it."""
        return str(self.pixels.get("name", self.backbone))

    @property
    def name(self) -> str:
        """The branch in words: the model, and in brackets the axes that do not name it."""
        return self.named()

    def named(self, *more: str, but: Collection[str] = ()) -> str:
        """The same with something more in the brackets, or without some of the axes."""
        others = {axis: value for axis, value in self.axes.items() if value != self.backbone and axis not in but}
        rest = [value if isinstance(value, str) else f"{axis} {value}" for axis, value in others.items()]
        return f"{self.model} ({', '.join([*rest, *more])})" if rest or more else self.model

    @property
    def slug(self) -> str:
        """The branch's number and the beginning of its label, for names of files and ids in the page."""
        words = re.sub(r"[^A-Za-z0-9]+", "-", self.label)
        return f"{self.number}-{words[:SLUG]}".rstrip("-")

    @property
    def backend(self) -> str:
        """The Keras backend that trained it, as its makers write it; empty where no record tells."""
        keras = self.key("train").get("keras") or {}
        backend = str(keras.get("backend", self.axes.get("backend", "")))
        return BACKENDS.get(backend, backend)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        return dict(self.read("evaluate", "metrics.json"))

    @cached_property
    def findings(self) -> list[dict[str, Any]]:
        """Findings of preprocess and evaluate, each once; what was measured stands for what was said before training."""
        found: list[dict[str, Any]] = []
        for stage, file in (("preprocess", "checks.json"), ("evaluate", "findings.json")):
            found += [finding for finding in self.read(stage, file) if finding not in found]
        said = {rule for finding in found for rule in MEASURED.get(finding["rule"], ())}
        return [finding for finding in found if finding["rule"] not in said]

    @cached_property
    def training(self) -> dict[str, Any]:
        return dict(self.read("train", "training.json"))

    @cached_property
    def costs(self) -> list[dict[str, Any]]:
        """What every phase of the training computes for one image."""
        return list(self.read("train", "costs.json"))

    @cached_property
    def pixels(self) -> dict[str, Any]:
        return dict(self.read("preprocess", "pixels.json"))

    @cached_property
    def dataset(self) -> dict[str, Any]:
        return dict(self.read("ingest", "dataset.json"))

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an epoch, epochs counted from 1."""
        return pd.read_csv(self.branch.inputs["train"] / "history.csv")

    @cached_property
    def test(self) -> pd.DataFrame:
        """The predictions on the test images."""
        return self.predictions[self.predictions["split"] == "test"]

    @cached_property
    def tested(self) -> bytes:
        """Equal for branches whose tables of test images have the same images and labels in the same order."""
        return pd.util.hash_pandas_object(self.test[["label", "hash"]]).to_numpy().tobytes()

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """What was predicted: index path; columns split, label, predicted, correct (bool), loss (nats), hash (of the file)."""
        names = ["row", "path", "split", "label", "predicted", "loss"]
        table = pd.read_csv(self.folder("evaluate") / "predictions.csv", usecols=names, dtype=str, keep_default_na=False)
        table = table.join(self.manifest["hash"], on="row").set_index("path").drop(columns="row")
        return table.assign(correct=table["label"] == table["predicted"], loss=table["loss"].astype(float))

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """Every image: index row (text); columns path, label, hash."""
        names = ["row", "path", "label", "hash"]
        table = pd.read_csv(self.folder("ingest") / "manifest.csv", usecols=names, dtype=str, keep_default_na=False)
        return table.set_index("row")

    def read(self, stage: str, file: str) -> Any:
        """The parsed JSON file of one of the branch's artifacts."""
        return json_files.read(self.folder(stage) / file)

    def folder(self, stage: str) -> Path:
        return self.branch.inputs[stage]

    def record(self, stage: str) -> dict[str, Any]:
        """How that stage's artifact came to be; empty where it is not known."""
        return self.branch.records.get(stage) or {}

    def key(self, stage: str) -> dict[str, Any]:
        return self.record(stage).get("key") or {}

    def parameter(self, stage: str, name: str) -> Any:
        """A parameter of one of the branch's stages, or None where it is not set or not known."""
        return (self.key(stage).get("params") or {}).get(name)

    def measure(self, stage: str, name: str) -> Any:
        """A number that the stage measured (seconds, bytes, images a second), or None."""
        return (self.record(stage).get("measures") or {}).get(name)


def read_results(branches: Sequence[Branch], needs: Sequence[str] = NEEDS) -> tuple[list[Result], list[str]]:
    """The branches that have all `needs`, in their order, and a sentence about each that has not."""
    results: list[Result] = []
    incomplete: list[str] = []
    for branch in branches:
        absent = [need for need in needs if need not in branch.inputs]
        if absent:
            incomplete.append(f"{branch.label}: nothing from {', '.join(absent)}")
        else:
            results.append(Result(len(results) + 1, branch))
    return results, incomplete


def up_to_date(results: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """The branches whose metrics are written as the report reads them, counted anew, and a sentence about each other one."""
    told = [result for result in results if result.metrics.get("format") == formats.METRICS]
    older = [result.branch.label for result in results if result not in told]
    says = "evaluated by another version of its code: run it again"
    return [replace(result, number=number) for number, result in enumerate(told, 1)], [f"{label}: {says}" for label in older]


def by_validation(results: list[Result]) -> list[Result]:
    """The branches, best first: by validation accuracy, then by validation log loss, then by their order."""
    return sorted(results, key=lambda result: (-result.metrics["validation"]["accuracy"], _log_loss(result), result.number))


def _log_loss(result: Result) -> float:
    loss = result.metrics["validation"].get("log_loss")
    return float("inf") if loss is None else float(loss)
