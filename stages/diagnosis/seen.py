"""What a trained network did, as numbers: all that the rules look at, whoever trained it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, binomtest

from stages.network.scores import cross_entropies

PHASE = ("unfreeze", "epochs", "learning_rate", "schedule", "warmup", "layer_decay")  # what a table of `phases` may say

Row = Mapping[str, float]


@dataclass(frozen=True)
class Split:
    """Images of one split: predicted probabilities (N, K) in inference mode, and class indices (N,)."""

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int32]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The likeliest class of every image."""
        likeliest: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return likeliest

    @property
    def given(self) -> NDArray[np.float32]:
        """The probability of every image's label."""
        own: NDArray[np.float32] = self.probabilities[np.arange(len(self.labels)), self.labels]
        return own

    @property
    def losses(self) -> NDArray[np.float64]:
        """The cross-entropy of every image, in nats: comparable with a history's, whose losses are those of logits."""
        return cross_entropies(self.probabilities, self.labels)

    @property
    def accuracy(self) -> float:
        """Share of the images that are classified rightly."""
        return float((self.predicted == self.labels).mean())

    @property
    def majority(self) -> float:
        """Accuracy of naming this split's most frequent class for every image."""
        return float(np.bincount(self.labels).max() / len(self.labels))

    @property
    def by_chance(self) -> float:
        """The probability that predictions as frequent as these, which have nothing to do with the labels, are right as often."""
        count, classes = len(self.labels), self.probabilities.shape[1]
        called, labelled = (np.bincount(values, minlength=classes) / count for values in (self.predicted, self.labels))
        right = int((self.predicted == self.labels).sum())
        return float(binom.sf(right - 1, count, min(float(called @ labelled), 1.0)))

    def interval(self, level: float = 0.99) -> tuple[float, float]:
        """Of the accuracy (Wilson 1927)."""
        right = int((self.predicted == self.labels).sum())
        found = binomtest(right, len(self.labels)).proportion_ci(confidence_level=level, method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class Seen:
    """`train` is a sample of the training images; what is not known of a network that another program trained is left out."""

    classes: Sequence[str]
    train: Split
    validation: Split
    training_labels: NDArray[np.int32]  # of all training images
    history: Sequence[Row] = ()  # one row an epoch: loss, accuracy, val_loss, val_accuracy
    before: int = 0  # epochs of earlier phases, whose rows are left out
    chosen: int = 0  # the row of the epoch whose weights were kept, from 1; 0: not known
    changes: Mapping[str, float] = field(default_factory=dict)  # layer -> |w - w0| / |w0| over all of training, if known
    silent: Callable[[], Mapping[str, float]] = dict  # layer -> share of its units that never fire; measured when called
    settings: Mapping[str, Any] = field(default_factory=dict)  # training.json

    @property
    def majority(self) -> float:
        """Accuracy of naming the most frequent class on the training images."""
        return float(self.shares.max())

    @property
    def shares(self) -> NDArray[np.float64]:
        """Of each class among the training images."""
        return np.bincount(self.training_labels, minlength=len(self.classes)) / len(self.training_labels)

    @property
    def entropy(self) -> float:
        """The training loss in nats of who only knows how frequent each class is: ln K where all are equally frequent.

        As training weighs the classes and smooths the labels.
        """
        shares = self.shares[self.shares > 0]
        if self.settings.get("class_weights"):
            shares = np.full(len(shares), 1 / len(shares))
        smoothing = self.settings.get("label_smoothing", 0.0)
        shares = (1 - smoothing) * shares + smoothing / len(shares)
        return float(-(shares * np.log(shares)).sum())

    @property
    def validation_counts(self) -> NDArray[np.int64]:
        """How many validation images are called each class."""
        return np.bincount(self.validation.predicted, minlength=len(self.classes))

    def line(self, name: str, value: float | str) -> str:
        """The line of the pipeline file that sets a parameter; `value` as TOML has it.

        Where there are phases that of the last one, and the stage's own as well: one that no phase takes is refused.
        """
        own = f"stages.train.params.{name} = {value}"
        if not self.settings.get("in_phases"):
            return own
        phases = self.settings["phases"]
        tables = [{setting: json.dumps(phase[setting]) for setting in PHASE if setting in phase} for phase in phases]
        for table, phase in zip(tables, phases, strict=True):
            table |= {"learning_rate": '"find"'} if phase.get("finder") else {}
        tables[-1] |= {name: str(value)}
        texts = ["{ " + ", ".join(f"{setting} = {text}" for setting, text in table.items()) + " }" for table in tables]
        return f"{own}\nstages.train.params.phases = [{', '.join(texts)}]"

    def column(self, name: str) -> NDArray[np.float64]:
        """A column of the history; empty where it has none."""
        return np.array([row[name] for row in self.history if name in row], np.float64)

    @property
    def reached(self) -> float:
        """Training accuracy at the end: by the history, or measured where that does not tell."""
        told = self.column("accuracy")
        return float(told[-1]) if len(told) else self.train.accuracy

    @property
    def watched(self) -> str:
        """How the history calls the validation loss by which the epoch was chosen."""
        return str(self.settings.get("watched", "val_loss"))
