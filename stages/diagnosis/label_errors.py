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

GOOD = 0.8  # accuracy on the images that are not doubted: the errors of a worse network say more of it than of the labels
KNOWS = 0.25  # of the way from naming the most frequent class to always being right: accuracy by the labels as they are
SURE = 0.05  # probability of the given label, at most
SHOWN = 5


def find(seen: Seen, paths: Sequence[str], known: Sequence[Finding]) -> list[Finding]:
    """The finding, with the images to look at first; `paths` are those of the validation images.

    None where an error among the `known` findings makes the network err.
    """
    split = seen.validation
    if any(finding.severity == "error" for finding in known):
        return []
    doubtful = doubted(split)
    share = len(doubtful) / len(split.labels)
    learned = split.accuracy >= split.majority + KNOWS * (1 - split.majority)
    if not len(doubtful) or not learned or split.accuracy < GOOD * (1 - share):
        return []
    found = Finding(
        rule="label-errors",
        severity="note",  # an overconfident network errs in the same way: a person has to look
        title=f"{len(doubtful)} of {len(split.labels)} validation images may have a wrong label, or are hard",
        cause="The network is surer of another class than it usually is where that is the label, and rules the label out.",
        evidence={
            "share": share,
            **{
                paths[i]: f"labelled {seen.classes[split.labels[i]]}, looks like {seen.classes[split.predicted[i]]}"
                for i in doubtful[:SHOWN]
            },
        },
        confidence=0.6,
    )
    return [found]


def doubted(split: Split) -> NDArray[np.int64]:
    """Images off the diagonal of the confident joint, the least likely labels first.

    An image counts as of class j where its probability of j is at least the mean probability of j among the images labelled j,
    and largest among such classes.
    """
    given = split.given
    own = [split.labels == j for j in range(split.probabilities.shape[1])]
    usual = np.array([split.probabilities[mine, j].mean() if mine.any() else np.inf for j, mine in enumerate(own)])
    sure = np.where(split.probabilities >= usual, split.probabilities, -1.0)
    counted = sure.max(axis=1) > 0
    doubtful = np.flatnonzero(counted & (sure.argmax(axis=1) != split.labels) & (given <= SURE))
    return doubtful[np.argsort(given[doubtful], kind="stable")]
