"""Rule: validation or test images are among the training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis.finding import Effect, Finding

SHARE = 0.01  # of a split: above, its accuracy is that of another task
COST = 0.01  # accuracy
SHOWN = 5  # pairs


def find(
    leaked: Mapping[str, NDArray[np.bool_]], right: Mapping[str, NDArray[np.bool_]], copies: Mapping[str, str] | None = None
) -> Finding | None:
    """The finding, or None where no split shares an image with training.

    For each split and each of its images: whether the same image is among the training images, and whether it was
    classified rightly. `copies`: paths of leaked images -> paths of the training images that they are, where these are known.
    """
    copies = copies or {}
    splits = [split for split in leaked if leaked[split].any()]
    if not splits:
        return None
    worst = max(splits, key=lambda split: leaked[split].mean())
    share, among = float(leaked[worst].mean()), right[worst]
    clean = among[~leaked[worst]]
    shown = [f"{path} = {of}" for path, of in islice(copies.items(), SHOWN)]
    measure = f"{worst} accuracy, without the leaked images"
    effect = Effect(float(among.mean()), float(clean.mean()), measure) if len(clean) else None
    cost = effect.as_configured - effect.with_fix if effect else 1.0
    return Finding(
        rule="leakage",
        severity="error" if cost > COST and share > SHARE else "warning" if share > SHARE else "note",
        title=f"{int(leaked[worst].sum())} of {len(among)} {worst} images are among the training images",
        cause="The same pictures lie in more than one split, so that what was learned by heart counts as recognised.",
        evidence={f"{split}_leaked": int(leaked[split].sum()) for split in splits} | ({"copies": shown} if shown else {}),
        fix='stages.ingest.params.duplicates = "drop"',
        effect=effect,
    )


def exact(pictures: Sequence[str], training: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each of the rows, whether its picture is that of a training row; `pictures` are the same text for the same picture."""
    known = {pictures[row] for row in training}
    return np.array([pictures[row] in known for row in rows], bool)
