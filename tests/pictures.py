"""Photo-like pictures that tests make themselves: smooth textures whose colour and grain depend on the class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

SPLITS = {"train": 24, "validation": 8, "test": 8}


def photo(label: int, number: int, size: int = 48) -> Image.Image:
    """One picture of a class, the same for the same numbers."""
    random = np.random.default_rng([label, number])
    grain = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(grain).filter(ImageFilter.GaussianBlur(1 + 2 * label)), dtype=float)
    tint = np.array([1.3, 1.0, 0.7]) if label % 2 else np.array([0.7, 1.0, 1.3])
    light = np.linspace(0.7, 1.2, size)[:, None, None]
    return Image.fromarray(np.clip(smooth * tint * light, 0, 255).astype(np.uint8))


def write_splits(folder: Path, classes: tuple[str, ...] = ("cats", "dogs"), counts: Mapping[str, int] = SPLITS) -> Path:
    """folder/train/cats/0.jpg ... as a person's data set lies on disk."""
    number = 0
    for split, count in counts.items():
        for label, name in enumerate(classes):
            place = folder / split / name
            place.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                number += 1
                photo(label, number).save(place / f"{name}.{i}.jpg", quality=90)
    return folder
