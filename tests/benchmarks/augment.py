"""What augmenting an image costs beside the old generator of Keras, with the same draws and the same recipe, in turn.

    python -m tests.benchmarks.augment

The peer is `apply_affine_transform` of Keras's legacy generator, without its brightness and flips, so that the ratio is a lower bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import scipy
from keras.src.legacy.preprocessing.image import apply_affine_transform
from numpy.typing import NDArray

from stages.augment import RECIPES, augment, draw
from tests.benchmarks.engine import machine

IMAGES, SIZE, ROUNDS, RECIPE = 100, 150, 5, "question"


def legacy(images: NDArray[np.uint8], epoch: int) -> None:
    """The same geometry by the generator's own function."""
    for row, image in enumerate(images):
        drawn = draw(RECIPES[RECIPE], epoch, row)
        apply_affine_transform(
            image.astype(np.float32), drawn.rotation, SIZE * drawn.shift[0], SIZE * drawn.shift[1], drawn.shear, *drawn.zoom,
            row_axis=0, col_axis=1, channel_axis=2, fill_mode="nearest", order=1,
        )  # fmt: skip


def ms_per_image(work: Callable[[int], object], epoch: int) -> float:
    """Milliseconds an image."""
    start = time.perf_counter()
    work(epoch)
    return 1000 * (time.perf_counter() - start) / IMAGES


def main() -> None:
    """Time both in turn and print their medians and the ratio."""
    if not hasattr(scipy.ndimage, "interpolation"):
        scipy.ndimage.interpolation = scipy.ndimage  # the generator's name for it, gone from scipy
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    rows = np.arange(IMAGES)
    rounds = [
        (
            ms_per_image(lambda e: augment(images, rows, e, RECIPES[RECIPE]), epoch),
            ms_per_image(lambda e: legacy(images, e), epoch),
        )
        for epoch in range(ROUNDS)
    ]
    ours, theirs = (median(side) for side in zip(*rounds, strict=True))
    ratio = median(b / a for a, b in rounds)
    print("\n".join(machine()))
    print(f"{SIZE} x {SIZE}, recipe {RECIPE}: kpipe {ours:.2f} ms an image, Keras's generator {theirs:.2f} ms, ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
