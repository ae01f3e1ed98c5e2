"""Rule: images whose label is probably wrong, by confident learning on images that were not trained on.

Northcutt, Jiang & Chuang 2021, "Confident Learning" (arXiv 1911.00068), section 3.1. The authors' own library, cleanlab, is under
the AGPL, which this project cannot pass on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis.finding import Finding
from stages.diagnosis.seen import Seen, Split
from stages.network.scores import TINY

KNOWS = 0.25  # of the way from naming the most frequent class to always being right: accuracy by the labels as they are
# Accuracy on the images that are not doubted -> probability of a doubted label, at most, in what is usual for that label. The
# better a network knows the other images, the less it has to rule a label out: errors of a worse one are rather its own.
DOUBTS = {0.9: 0.2, 0.8: 0.1}
SHOWN = 5


def find(seen: Seen, paths: Sequence[str], known: Sequence[Finding]) -> list[Finding]:
    """The finding, with the images to look at first; `paths` are those of the validation images.

    None where an error among the `known` findings makes the network err.
    """
    split = seen.validation
    if any(finding.severity == "error" for finding in known):
        return []
    learned = split.accuracy >= split.majority + KNOWS * (1 - split.majority)
    doubtful = doubted(split)
    if not learned or not len(doubtful):
        return []
    found = Finding(
        rule="label-errors",
        severity="note",  # an overconfident network errs in the same way: a person has to look
        title=f"{len(doubtful)} of {len(split.labels)} validation images may have a wrong label, or are hard",
        cause="The network is surer of another class than it usually is where that is the label, and rules the label out.",
        evidence={
            "share": len(doubtful) / len(split.labels),
            **{
                paths[i]: f"labelled {seen.classes[split.labels[i]]}, looks like {seen.classes[split.predicted[i]]}"
                for i in doubtful[:SHOWN]
            },
        },
        confidence=0.6,
    )
    return [found]


def doubted(split: Split) -> NDArray[np.int64]:
    """Images that the network is good enough to doubt, the least likely labels first."""
    candidates, of_usual = off_diagonal(split)
    for good, sure in DOUBTS.items():
        found = candidates[of_usual <= sure]
        if split.accuracy >= good * (1 - len(found) / len(split.labels)):
            return found
    return np.empty(0, np.int64)


def off_diagonal(split: Split) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Images off the diagonal of the confident joint, the least likely labels first, and what their labels' probabilities are of
    those that are usual for them.

    An image counts as of class j where its probability of j is at least the mean probability of j among the images labelled j,
    and largest among such classes. A network that was trained on wrong labels is less sure of all of them: what rules a label out
    is measured by what is usual too.
    """
    given = split.given
    own = [split.labels == j for j in range(split.probabilities.shape[1])]
    usual = np.array([split.probabilities[mine, j].mean() if mine.any() else np.inf for j, mine in enumerate(own)])
    confident = np.where(split.probabilities >= usual, split.probabilities, -1.0)
    counted = confident.max(axis=1) > 0
    rows = np.flatnonzero(counted & (confident.argmax(axis=1) != split.labels))
    rows = rows[np.argsort(given[rows], kind="stable")]
    return rows, given[rows] / np.maximum(usual[split.labels[rows]], TINY)
