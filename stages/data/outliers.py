"""Images that are unlike the others in brightness, sharpness or aspect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.data.manifest import Item
from stages.data.traits import Traits

LIMIT = 3.5  # of a modified z-score, as its authors advise
LISTED = 20  # images of each property
FLOOR = 1e-2  # of a sharpness, so that its logarithm is finite


def find(items: Sequence[Item], traits: Traits) -> dict[str, dict[str, Any]]:
    """property -> {"median", "total", "unit", "images": the most extreme, [{"path", "value", "score"}]}.

    Brightness is the mean luminance (0..255), sharpness the variance of the Laplacian of the prepared picture, aspect the
    width over the height of the original; the latter two are compared as logarithms.
    """
    aspect = np.array([item.width / item.height for item in items])
    return {
        "brightness": _told(items, traits.brightness, scores(traits.brightness), "mean luminance, 0 to 255"),
        "sharpness": _told(
            items, traits.sharpness, scores(np.log(np.maximum(traits.sharpness, FLOOR))), "variance of the Laplacian"
        ),
        "aspect": _told(items, aspect, scores(np.log(aspect)), "width over height"),
    }


def scores(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(N,): modified z-scores, by the median and the median absolute deviation; by the mean absolute one where that is 0.

    Iglewicz & Hoaglin 1993, "How to Detect and Handle Outliers".
    """
    distances = values.astype(np.float64) - float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(distances))) or 1.2533 * float(np.abs(distances).mean())
    return distances / spread if spread else distances


def _told(items: Sequence[Item], values: NDArray[Any], found: NDArray[np.float64], unit: str) -> dict[str, Any]:
    outside = np.flatnonzero(np.abs(found) > LIMIT)
    extreme = outside[np.argsort(-np.abs(found[outside]), kind="stable")][:LISTED]
    images = [{"path": items[i].path, "value": _rounded(values[i]), "score": round(float(found[i]), 1)} for i in extreme]
    return {"median": _rounded(np.median(values)), "total": len(outside), "unit": unit, "images": images}


def _rounded(value: float) -> float:
    return float(f"{float(value):.4g}")
