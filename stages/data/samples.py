"""Data sets that need no download."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.data.datasets import DataSet
from stages.data.images import Look, fit
from stages.data.manifest import Item


def digits(look: Look) -> DataSet:
    """The 1,797 handwritten digits that scikit-learn ships (UCI, Alpaydin & Kaynak 1998): 8 x 8 pixels, ten classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    originals = np.rint(data.images * (255 / 16)).astype(np.uint8)
    items = [_item(index, str(label), originals[index]) for index, label in enumerate(data.target)]
    original = {item.path: originals[index] for index, item in enumerate(items)}

    def pixels(item: Item) -> NDArray[np.uint8]:
        return np.asarray(fit(Image.fromarray(original[item.path]).convert("RGB"), look.size, look.resize))

    return DataSet("digits", "sample:digits", sorted({item.label for item in items}), items, pixels)


def _item(index: int, label: str, original: NDArray[np.uint8]) -> Item:
    return Item(
        path=f"{label}/{index:04d}",
        label=label,
        hash=hashlib.sha256(original.tobytes()).hexdigest(),
        width=original.shape[1],
        height=original.shape[0],
        mode="L",
        format="array",
        bytes=original.nbytes,
    )
