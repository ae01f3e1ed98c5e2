"""Peer (a): image_dataset_from_directory and fit. Every picture is decoded in every epoch, on all cores, ahead of the step."""

from __future__ import annotations

from typing import Any

import keras

from tests.benchmarks.training.scripts.fitting import asked, fit_and_evaluate


def main() -> None:
    """Train on the folders as they are."""
    told = asked()

    def split(name: str, shuffle: bool = False) -> Any:
        return keras.utils.image_dataset_from_directory(
            f"{told['data']}/{name}",
            image_size=(told["size"], told["size"]),
            batch_size=told["batch_size"],
            shuffle=shuffle,
            seed=told["seed"],
        )

    fit_and_evaluate(told, split("train", shuffle=True), split("validation"), split("test"))


if __name__ == "__main__":
    main()
