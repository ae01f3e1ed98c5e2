"""Where labels stand in a figure so that they cover neither each other nor what is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (N, 2)
Boxes = NDArray[np.float64]  # (N, 4): left, bottom, right, top
RADII = (9.0, 12.0, 16.0, 21.0, 27.0, 34.0, 42.0, 52.0, 64.0, 78.0, 94.0)
ANGLES = np.radians([45, 135, -45, -135, 0, 180, 90, -90, 22, 158, -22, -158, 67, 113, -67, -113])
OFFSETS = np.array([(radius * np.cos(angle), radius * np.sin(angle)) for radius in RADII for angle in ANGLES])
DISTANCES = np.repeat(RADII, len(ANGLES))
BETWEEN = np.linspace(0.2, 0.8, 4)  # places on the way from a point to its label
HIDES, CROSSES = 1e6, 30.0  # what a place costs beside its distance, for each thing that must not or should not be covered
STRAYS = 8.0  # for each other point that is nearer


def place(points: Points, sizes: Points, room: Boxes, solid: Boxes, thin: Boxes) -> Points:
    """Middles of the labels of `points`, each so wide and high as `sizes` tells, in the units of RADII.

    One after the other, each label takes the best place left: within `room`, one box, and on no box of `solid` and no
    other label where any place of OFFSETS is so; on a box of `thin` or on the way from another point to its label only
    where the way around is long; and nearer to its own point than to others where that is not far.
    """
    labels, middles = np.empty((0, 4)), np.empty_like(points)
    for number, (point, size) in enumerate(zip(points, sizes, strict=True)):
        boxes = around(point + OFFSETS, size)
        ways = around((point + OFFSETS[:, None] * BETWEEN[:, None]).reshape(-1, 2), (1, 1))
        outside = (boxes[:, :2] < room[0, :2]).any(axis=1) | (boxes[:, 2:] > room[0, 2:]).any(axis=1)
        hidden = overlaps(boxes, np.vstack([solid, labels])) + outside
        strays = (np.linalg.norm(point + OFFSETS - points[:, None], axis=-1) < DISTANCES - 1e-6).sum(axis=0)
        crossed = overlaps(boxes, thin) + overlaps(ways, labels).reshape(len(OFFSETS), -1).sum(axis=1)
        best = int((DISTANCES + HIDES * hidden + CROSSES * crossed + STRAYS * strays).argmin())
        middles[number] = point + OFFSETS[best]
        labels = np.vstack([labels, boxes[best]])
        thin = np.vstack([thin, ways.reshape(len(OFFSETS), -1, 4)[best]])
    return middles


def overlaps(boxes: Boxes, others: Boxes) -> NDArray[np.int64]:
    """How many of the others each box shares some of its inside with."""
    one, other = boxes[:, None], others[None]
    apart = (one[..., 2:] <= other[..., :2]).any(axis=-1) | (other[..., 2:] <= one[..., :2]).any(axis=-1)
    return np.asarray((~apart).sum(axis=1))


def around(points: Points, size: Sequence[float] | Points) -> Boxes:
    """Boxes of this width and height around points."""
    half = np.asarray(size, float) / 2
    return np.hstack([points - half, points + half])
