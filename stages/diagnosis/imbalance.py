"""Rule: classes are unequally frequent, and the network names the frequent one too often."""

from __future__ import annotations

import numpy as np
from scipy.stats import fisher_exact

from stages.diagnosis.finding import Finding
from stages.diagnosis.seen import Seen

RATIO = 3.0  # training images of the most frequent class to those of the rarest
FEWEST = 8  # validation images of the rare class
LOST = 0.7  # recall of the rare class, at most
KEPT = 0.8  # recall of the frequent class, at least
CALLED = 0.85  # times as many images as are of the rare classes: if more are called so, they are hard rather than overlooked
BY_CHANCE = 0.01  # probability that the rare classes come out so much worse though they are known like the frequent one


def find(seen: Seen) -> Finding | None:
    """The finding, or None where the rare class is found as well, or where all classes are about equally frequent."""
    present = np.flatnonzero(seen.shares)
    often = int(present[np.argmax(seen.shares[present])])
    judged = [int(label) for label in present if (seen.validation.labels == label).sum() >= FEWEST]
    rares = [label for label in judged if seen.shares[often] >= RATIO * seen.shares[label]]
    if not rares or often not in judged:
        return None
    rare = min(rares, key=lambda label: recall(seen, label))
    ratio, lost, kept = seen.shares[often] / seen.shares[rare], recall(seen, rare), recall(seen, often)
    if lost > LOST or kept < KEPT or not (overlooked(seen, rares, often) or overlooked(seen, [rare], often, of=len(rares))):
        return None
    weighed = bool(seen.settings.get("class_weights"))
    return Finding(
        rule="imbalance",
        severity="warning",
        title=f'The network overlooks the rare class "{seen.classes[rare]}"',
        cause=f'"{seen.classes[often]}" has {ratio:.1f} times as many training images; of the validation images '
        f'{100 * kept:.0f} % of it are recognised and {100 * lost:.0f} % of "{seen.classes[rare]}".',
        evidence={"ratio": ratio, "recall_rare": lost, "recall_frequent": kept, "balanced_accuracy": balanced(seen)},
        fix=None if weighed else 'stages.train.params.class_weights = "balanced"',
        confidence=0.8,
    )


def overlooked(seen: Seen, rares: list[int], often: int, of: int = 1) -> bool:
    """Whether rare classes, the worst of so many, are named too seldom, and fewer of their images are recognised than of the
    frequent one's, not by chance (Fisher's exact test)."""
    right = seen.validation.predicted == seen.validation.labels
    of_rare, of_often = np.isin(seen.validation.labels, rares), seen.validation.labels == often
    table = [[int((right & which).sum()), int((~right & which).sum())] for which in (of_rare, of_often)]
    by_chance = float(fisher_exact(table, alternative="less").pvalue)
    return of * by_chance < BY_CHANCE and seen.validation_counts[rares].sum() <= CALLED * of_rare.sum()


def recall(seen: Seen, label: int) -> float:
    """Share of a class's validation images that are called so."""
    of_class = seen.validation.labels == label
    return float((seen.validation.predicted[of_class] == label).mean())


def balanced(seen: Seen) -> float:
    """Mean recall over the classes that have validation images."""
    return float(np.mean([recall(seen, int(label)) for label in np.unique(seen.validation.labels)]))
