"""How a program that trained a network scaled its pixels, where it did so before the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage, StageError
from stages.data.labels import sample
from stages.diagnosis.folder import Folder
from stages.diagnosis.foreign import Foreign, probabilities
from stages.diagnosis.input_scale import LOOKED_AT, NEAR, batchnorm_distance, pixels_given
from stages.diagnosis.misaligned import BY_CHANCE, best_naming, guessed
from stages.diagnosis.seen import Split
from stages.pixels import CONTRACTS, Contract, apply

TRIED = 128  # training images on which ways to scale pixels are tried
FIRST = 32  # of them, after which those that are clearly worse are left out
CLEARLY = 4.0  # standard errors of the mean difference
BETTER = 0.1  # accuracy on training images with which other pixels than raw ones are taken for what the program gave
SURER = 0.05  # probability of the right class, likewise: untrained weights may tell images apart, but are not sure
ALIKE = 0.05  # accuracy by which the pixels that the first BatchNormalization remembers may be behind others


@dataclass(frozen=True)
class Knowledge:
    """How well a network knows training images of so many classes: accuracy, the probability of its class for each image (N,),
    and the probability that guesses are as good."""

    classes: int
    accuracy: float
    own: NDArray[np.float32]
    luck: float

    @property
    def probability(self) -> float:
        """Mean probability of the right class."""
        return float(self.own.mean())

    def clearly_less_than(self, other: Knowledge) -> bool:
        """Whether the other one is surer of the same images, by far more than chance would have it."""
        gain = other.own - self.own
        return len(gain) > 1 and float(gain.mean()) > CLEARLY * float(gain.std(ddof=1)) / math.sqrt(len(gain))


@dataclass(frozen=True)
class Trial:
    """A network, and some training images, in a random order."""

    network: Foreign
    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    classes: int

    def predicted(self, name: str, rows: slice = slice(None)) -> NDArray[np.float32]:
        """Probabilities with pixels scaled by a contract; StageError where there is not one for each class of the folder."""
        values = probabilities(self.network.whole, apply(CONTRACTS[name], self.images[rows]))
        if values.shape[1] != self.classes:
            says = f"the network tells {values.shape[1]} classes apart, the folder has {self.classes}"
            raise StageError(says, hint="give the folder that it was trained on")
        return values

    def known(self, values: NDArray[np.float32]) -> Knowledge:
        """What predictions for the first images show."""
        return knowledge(Split(values, self.labels[: len(values)]), self.classes)

    def worth(self, raw: NDArray[np.float32], keep: str | None = None) -> dict[str, Knowledge]:
        """What the network knows with each way to scale pixels that may be the best one, `raw` being predictions without any.

        The first images tell which may be, and `keep` is one.
        """
        first = {name: self.predicted(name, slice(FIRST)) for name in CONTRACTS if name != "none"} | {"none": raw[:FIRST]}
        known = {name: self.known(values) for name, values in first.items()}
        best = max(known.values(), key=lambda found: found.probability)
        left = [name for name, found in known.items() if name != "none" and (name == keep or not found.clearly_less_than(best))]
        whole = {name: np.concatenate([first[name], self.predicted(name, slice(FIRST, None))]) for name in left}
        return {"none": self.known(raw), **{name: self.known(values) for name, values in whole.items()}}


def contract(stage: Stage, network: Foreign, pictures: Folder) -> Contract:
    """The contract by which the program scales pixels before the network: the one that its first BatchNormalization remembers,
    where the network knows its training images with it; else the one with which it knows them best.

    Whatever it calls the classes: that is another rule's matter.
    """
    some = sample(np.arange(len(pictures.train.labels)), TRIED, 0)
    trial = Trial(network, pictures.train.images[some], pictures.train.labels[some], len(pictures.classes))
    raw = trial.predicted("none")
    if "int" in network.whole.inputs[0].dtype:
        return CONTRACTS["none"]
    kept, as_they_are = remembered(network, trial.images), trial.known(raw)
    if as_they_are.accuracy >= 1 - BETTER and kept in ("none", None):  # no other could be so much better
        return CONTRACTS["none"]
    known = trial.worth(raw, kept)
    name = chosen(known, kept)
    if name != "none":
        stage.notice(
            f'the network knows its training images best with pixels scaled as "{name}" (accuracy {known[name].accuracy:.2f}; '
            f"as they are {as_they_are.accuracy:.2f}): the program is taken to scale them so before the network"
        )
    return CONTRACTS[name]


def chosen(known: Mapping[str, Knowledge], kept: str | None) -> str:
    """The contract among those that were tried; "none" where no other one is clearly better. `kept` is the remembered one.

    That one need only be as good as others: pixels that are far larger than a network's own make it surer.
    """
    raw, most = known["none"], max(found.accuracy for found in known.values())
    if kept and known[kept].accuracy >= most - ALIKE and known[kept].luck <= BY_CHANCE:
        return kept
    name = max(known, key=lambda name: known[name].probability)
    best = known[name]
    surer = best.probability - raw.probability > min(SURER, 1 / best.classes)
    return name if surer and best.accuracy - raw.accuracy > BETTER and best.luck <= BY_CHANCE else "none"


def remembered(network: Foreign, images: NDArray[np.uint8]) -> str | None:
    """The contract whose pixels the first BatchNormalization knows, if it knows those of any."""
    entry = network.entry
    if entry is None or entry.first is None:
        return None
    given = {name: pixels_given(entry, apply(CONTRACTS[name], images[:LOOKED_AT])) for name in CONTRACTS}
    distances = {name: batchnorm_distance(entry, pixels) for name, pixels in given.items()}
    near = {name: distance for name, distance in distances.items() if distance is not None and distance <= NEAR}
    return min(near, key=near.__getitem__) if near else None


def knowledge(split: Split, classes: int) -> Knowledge:
    """By the classes' own names, or by others where only under these the network knows the images. Among many classes guesses fit
    to the best names well."""
    accuracy, naming = best_naming(split, classes)
    luck = guessed(split, accuracy, naming)
    if split.by_chance <= BY_CHANCE or luck > BY_CHANCE:
        naming, luck = list(range(classes)), split.by_chance
    named = np.nan_to_num(split.probabilities[:, np.argsort(naming)])
    own = named[np.arange(len(split.labels)), split.labels]
    return Knowledge(classes, float((named.argmax(axis=1) == split.labels).mean()), own, luck)
