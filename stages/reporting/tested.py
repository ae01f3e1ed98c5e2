"""Which images branches were judged on, where not all have the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stages.reporting.results import Result
from stages.reporting.same_images import identity
from stages.reporting.trainings import Group, alone
from stages.reporting.wording import count, listing, plural

NAMED = 4  # sets of images that a sentence tells one by one


def sets(networks: Iterable[Group], split: str) -> dict[frozenset[tuple[str, ...]], list[int]]:
    """Every different set of images that all trainings of a network have in a split, with the numbers of the branches."""
    found: dict[frozenset[tuple[str, ...]], list[int]] = {}
    for network in networks:
        images = frozenset[tuple[str, ...]]().union(
            *(identity(result.predictions[result.predictions["split"] == split]) for result in network.results)
        )
        found.setdefault(images, []).extend(result.number for result in network.results)
    return {images: sorted(numbers) for images, numbers in found.items()}


def number(results: list[Result]) -> str:
    """`270 test images`, `different test images`: what all branches of a page were compared on."""
    found = list(sets(alone(results), "test"))
    return plural(len(found[0]), "test image") if len(found) == 1 else "different test images"


def sentences(networks: list[Group], which: Callable[[list[int]], str]) -> list[str]:
    """What a reader must know where not all branches were tested, or chosen, on the same images."""
    meanings = {
        "test": "An accuracy is on the branch's own; two branches are compared on those that both have.",
        "validation": "So the choice rests on accuracies that were not measured on the same images.",
    }
    return [
        f"Not all branches have the same {split} images: {spread(found, which)}. {meaning}"
        for split, meaning in meanings.items()
        if len(found := sets(networks, split)) > 1
    ]


def spread(found: dict[frozenset[tuple[str, ...]], list[int]], which: Callable[[list[int]], str]) -> str:
    """`branches 1 and 2 have 100, branch 3 has 120; 80 are common to all`."""
    common = len(frozenset.intersection(*found))
    in_all = f"{count(common) if common else 'none'} {'is' if common < 2 else 'are'} common to all"
    if len(found) > NAMED:
        return f"there are {len(found)} different sets; {in_all}"
    told = [
        f"{which(branches)} {'has' if len(branches) == 1 else 'have'} {count(len(images))}" for images, branches in found.items()
    ]
    return f"{listing(told)}; {in_all}"
