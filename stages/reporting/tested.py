"""Which images branches were judged on, where not all have the same."""

from __future__ import annotations

from collections.abc import Callable

from stages.reporting.results import Result
from stages.reporting.same_images import identity
from stages.reporting.wording import count, listing, plural

NAMED = 4  # sets of images that a sentence tells one by one


def sets(results: list[Result], split: str) -> dict[frozenset[tuple[str, ...]], list[int]]:
    """Every different set of images that a split has, with the numbers of the branches that have it."""
    found: dict[frozenset[tuple[str, ...]], list[int]] = {}
    for result in results:
        images = identity(result.predictions[result.predictions["split"] == split])
        found.setdefault(frozenset(images), []).append(result.number)
    return found


def number(results: list[Result]) -> str:
    """`270 test images`, `different test images`: what all branches of a page were compared on."""
    found = list(sets(results, "test"))
    return plural(len(found[0]), "test image") if len(found) == 1 else "different test images"


def sentences(results: list[Result], which: Callable[[list[int]], str]) -> list[str]:
    """What a reader must know where not all branches were tested, or chosen, on the same images."""
    meanings = {
        "test": "An accuracy is on the branch's own; two branches are compared on those that both have.",
        "validation": "So the choice rests on accuracies that were not measured on the same images.",
    }
    return [
        f"Not all branches have the same {split} images: {spread(found, which)}. {meaning}"
        for split, meaning in meanings.items()
        if len(found := sets(results, split)) > 1
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
