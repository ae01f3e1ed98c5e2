"""Where each network goes wrong: test images with the highest losses, some that are right, and what spoke for their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.reporting import agreement, pictures
from stages.reporting.agreement import Agreement, Dispute
from stages.reporting.pictures import Picture, Store
from stages.reporting.results import Result
from stages.reporting.verdict import Verdict

ROOM = 1_500_000  # characters of all pictures and heat maps in this section


@dataclass(frozen=True)
class Heat:
    """What speaks for a class: its heat map as a link, and where that is strongest, empty where nothing speaks for the class."""

    name: str
    overlay: str
    place: str


@dataclass(frozen=True)
class Case:
    """A test image: what evaluate tells of it, its picture, and the heat map of the predicted class, then of the label."""

    told: dict[str, Any]
    picture: Picture
    heats: list[Heat]

    @property
    def right(self) -> bool:
        return bool(self.told["predicted"] == self.told["label"])


@dataclass
class Gallery:
    """What is shown of one branch, and how many images are left out for want of room."""

    result: Result
    told: dict[str, Any]
    loss: list[Case] = field(default_factory=list)
    right: list[Case] = field(default_factory=list)
    left_out: int = 0

    @property
    def flattened(self) -> bool:
        """Whether every place has weights of its own in the head, which Grad-CAM averages (Draelos & Carin 2020)."""
        return bool((self.result.training.get("head") or {}).get("pooling") == "flatten")

    def add(self, image: dict[str, Any], maps: NDArray[np.uint8], held: Store) -> None:
        """Show an image if there is room for it."""
        names = dict.fromkeys((image["predicted"], image["label"]))
        found = [(name, maps[image["maps"][name]]) for name in names]
        heats = [Heat(name, pictures.overlay(heat), pictures.place(heat)) for name, heat in found]
        picture = held.take(self.result, image["row"], sum(len(heat.overlay) for heat in heats))
        if picture is None:
            self.left_out += 1
        else:
            {"loss": self.loss, "right": self.right}[image["kind"]].append(Case(image, picture, heats))


@dataclass(frozen=True)
class Errors:
    """All that the section shows; `contenders` are the branches of the verdict."""

    contenders: list[Gallery]
    others: list[Gallery]
    agreements: list[Agreement]  # of every pair
    disputes: list[Dispute]  # of the chosen branch with each rival
    pictures: list[Picture]

    @property
    def judged(self) -> list[Agreement]:
        """The agreements of the chosen branch with its rivals."""
        chosen, *rivals = (gallery.result.number for gallery in self.contenders)
        return [one for one in self.agreements if chosen in one.numbers and any(rival in one.numbers for rival in rivals)]

    @property
    def matrix(self) -> list[tuple[Result, list[tuple[float | None, float]]]]:
        """For each branch but the first: the kappa of it and each before it, and that between the lowest (0) and highest (1)."""
        known = {one.numbers: one.kappa for one in self.agreements if one.kappa is not None}
        low, high = min(known.values(), default=0.0), max(known.values(), default=0.0)
        results = sorted((gallery.result for gallery in [*self.contenders, *self.others]), key=lambda result: result.number)
        return [
            (
                second,
                [(known.get(pair), (known.get(pair, low) - low) / (high - low or 1)) for pair in pairs_with(second, results)],
            )
            for second in results[1:]
        ]


def pairs_with(second: Result, results: Sequence[Result]) -> list[tuple[int, int]]:
    """The numbers of every branch before one, and its own."""
    return [(first.number, second.number) for first in results if first.number < second.number]


def shown(results: list[Result], verdict: Verdict) -> Errors:
    """The section's content: first what the branches of the verdict need, then all branches in turn, as far as there is room."""
    contenders = [group.lead for group in verdict.contenders]
    held = Store(ROOM)
    disputes = [one for rival in contenders[1:] for one in agreement.disputes(verdict.chosen, rival, held)]
    found = galleries([*contenders, *(result for result in results if result not in contenders)], held)
    judged, others = found[: len(contenders)], found[len(contenders) :]
    return Errors(judged, others, agreement.pairs(results), disputes, list(held.held.values()))


def galleries(results: Sequence[Result], held: Store) -> list[Gallery]:
    """What is shown of each branch: one more image of each in every round, one of the highest loss, then a right one."""
    found = [Gallery(result, result.read("evaluate", "explained.json")) for result in results]
    maps = [np.load(result.folder("evaluate") / "heat.npy") for result in results]
    kinds = [[[image for image in one.told["images"] if image["kind"] == kind] for kind in ("loss", "right")] for one in found]
    queues = [[image for pair in zip_longest(*both) for image in pair if image] for both in kinds]
    for images in zip_longest(*queues):
        for gallery, heat, image in zip(found, maps, images, strict=True):
            if image:
                gallery.add(image, heat, held)
    return found
