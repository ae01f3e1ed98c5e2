"""Peer (d): Pillow decodes every picture once, into one array a split, and fit draws its batches from it. Without TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.training.scripts.fitting import asked, fit_and_evaluate


def main() -> None:
    """Train on arrays, in a new order every epoch."""
    told = asked()

    def split(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        classes = sorted(path for path in Path(told["data"], name).iterdir() if path.is_dir())
        files = [(path, label) for label, folder in enumerate(classes) for path in sorted(folder.iterdir())]
        return np.stack([pixels(path) for path, _ in files]), np.array([label for _, label in files], np.int32)

    def pixels(path: Path) -> Any:
        size = (told["size"], told["size"])
        return np.asarray(keras.utils.load_img(path, target_size=size, interpolation="bilinear"))

    fit_and_evaluate(told, split("train"), split("validation"), split("test"))


if __name__ == "__main__":
    main()
