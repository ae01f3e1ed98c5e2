"""Whether branches err on the same test images, and in the same way."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.reporting.pictures import Picture, Store
from stages.reporting.results import Result
from stages.reporting.same_images import identity, on_same_images

SHOWN = 6  # images that only the one, and that only the other got right
Codes = NDArray[np.int64]


class Parts(NamedTuple):
    """Numbers of the test images that two branches share, by what both say of them."""

    both_right: int
    only_first: int
    only_second: int
    wrong_alike: int  # with the same wrong class
    wrong_apart: int  # with two wrong classes


@dataclass(frozen=True)
class Agreement:
    """Two branches on the test images that both predicted."""

    first: Result
    second: Result
    parts: Parts
    kappa: float | None  # None where both name one and the same class only

    @property
    def numbers(self) -> tuple[int, int]:
        """Of the two branches."""
        return self.first.number, self.second.number

    @property
    def images(self) -> int:
        return sum(self.parts)

    @property
    def same(self) -> int:
        """Images that both call the same class, right or wrong."""
        return self.parts.both_right + self.parts.wrong_alike


class Opinion(NamedTuple):
    """What a branch says of an image; `row` is that of its images.npy."""

    result: Result
    row: int
    predicted: str
    probability: float
    probability_of_label: float


@dataclass(frozen=True)
class Disputed:
    """A test image of which one branch is right and another wrong."""

    path: str
    label: str
    picture: Picture
    opinions: list[Opinion]


@dataclass(frozen=True)
class Dispute:
    """Images that only `winner` got right, of two branches; how many there are, and how many of those to show found no room."""

    winner: Result
    loser: Result
    total: int
    images: list[Disputed]
    left_out: int


def pairs(results: Sequence[Result]) -> list[Agreement]:
    """Every two branches that share test images, in their order."""
    table = pd.DataFrame({result.number: result.test["predicted"].set_axis(identity(result.test)) for result in results})
    names = np.vstack([table.index.get_level_values("label"), table.to_numpy(object).T])
    codes, _ = pd.factorize(names.ravel())  # -1: not among a branch's images
    labels, *predicted = codes.reshape(names.shape)
    found = []
    for (i, first), (j, second) in combinations(enumerate(results), 2):
        here = (predicted[i] >= 0) & (predicted[j] >= 0)
        if here.any():
            found.append(between(first, second, labels[here], predicted[i][here], predicted[j][here]))
    return found


def between(first: Result, second: Result, labels: Codes, one: Codes, other: Codes) -> Agreement:
    """How two branches agree, from the labels of the same images and what each calls them."""
    right, also, same = one == labels, other == labels, one == other
    kinds = (right & also, right & ~also, also & ~right, ~right & same, ~right & ~also & ~same)
    return Agreement(first, second, Parts(*(int(kind.sum()) for kind in kinds)), kappa(one, other))


def kappa(one: Codes, other: Codes) -> float | None:
    """Agreement of two raters beyond what chance would give, as a share of what it leaves (Cohen 1960)."""
    classes = int(max(one.max(), other.max())) + 1
    often = [np.bincount(answers, minlength=classes) / len(answers) for answers in (one, other)]
    agreed, chance = float((one == other).mean()), float(often[0] @ often[1])
    return None if chance == 1 else (agreed - chance) / (1 - chance)


def disputes(first: Result, second: Result, held: Store) -> list[Dispute]:
    """The images that only the first of two branches got right, and those that only the second did, where there are any.

    Those come first where the two give the label the most different probabilities.
    """
    tables = on_same_images([first, second])
    divided = tables[0]["correct"] != tables[1]["correct"]
    one, other = (opinions(result, set(divided.index[divided])) for result in (first, second))
    told = sorted(one, key=lambda path: -abs(one[path].probability_of_label - other[path].probability_of_label))
    found = []
    for winner, loser, table in ((first, second, tables[0]), (second, first, tables[1])):
        right = set(table.index[table["correct"] & divided])
        chosen = [path for path in told if path in right]
        images = [disputed(path, [one[path], other[path]], winner, held) for path in chosen[:SHOWN]]
        kept = [image for image in images if image]
        if chosen:
            found.append(Dispute(winner, loser, len(chosen), kept, len(images) - len(kept)))
    return found


def disputed(path: str, said: list[Opinion], winner: Result, held: Store) -> Disputed | None:
    """One such image; None where there is no room for its picture."""
    picture = held.take(said[0].result, said[0].row)
    [label] = [opinion.predicted for opinion in said if opinion.result is winner]
    return Disputed(path, label, picture, said) if picture else None


def opinions(result: Result, paths: set[str]) -> dict[str, Opinion]:
    """What a branch says of these test images, by path, in the order of its predictions."""
    with (result.folder("evaluate") / "predictions.csv").open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        at = {name: place for place, name in enumerate(next(lines))}
        chosen = [line for line in lines if line[at["path"]] in paths and line[at["split"]] == "test"]
    found = {}
    for line in chosen:
        label, predicted = line[at["label"]], line[at["predicted"]]
        chances = (float(line[at[f"p_{name}"]]) for name in (predicted, label))
        found[line[at["path"]]] = Opinion(result, int(line[at["row"]]), predicted, *chances)
    return found
