"""The data sets: the one that is there, a smaller one from its pictures, and one of pictures that are made up."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

SPLITS = ("train", "validation", "test")
CLASSES = ("cats", "dogs")


def count(data: Path) -> dict[str, int]:
    """Number of files in each split; zeros where there is no such data set."""
    return {split: sum(1 for path in (data / split).glob("*/*") if path.is_file()) for split in SPLITS}


def touch(data: Path) -> None:
    """Read every file once, so that the system has all of them in memory before anything is timed."""
    for path in data.rglob("*"):
        if path.is_file():
            path.read_bytes()


def smaller(data: Path, folder: Path, training: int) -> Path:
    """A copy with so many training pictures and half as many in each of the other splits, evenly from every class."""
    for split in SPLITS:
        classes = sorted(path for path in (data / split).iterdir() if path.is_dir())
        wanted = training if split == "train" else training // 2
        for source in classes:
            place = folder / split / source.name
            place.mkdir(parents=True)
            for path in sorted(source.iterdir())[: wanted // len(classes)]:
                shutil.copyfile(path, place / path.name)
    return folder


def made_up(folder: Path, images: Mapping[str, int], size: int) -> Path:
    """So many JPEG files a split, all different, half of each class; colour tells the classes apart."""
    import numpy as np  # here: the measuring process stays small where no pictures are made
    from PIL import Image

    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    for split, number in images.items():
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
        for i in range(number):
            label = i % 2
            picture = np.asarray(Image.fromarray(coarse[i % len(coarse)]).resize((size, size), Image.Resampling.BICUBIC))
            shifted = np.roll(picture, random.integers(0, size, 2), (0, 1)) // 2 + random.integers(0, 64, 3, dtype=np.uint8)
            shifted[..., 2 * label] += 64
            Image.fromarray(shifted.astype(np.uint8)).save(folder / split / CLASSES[label] / f"{i:06}.jpg", quality=85)
    return folder
