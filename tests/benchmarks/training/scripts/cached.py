"""Peer (b): image_dataset_from_directory with the decoded pictures kept in memory. A picture is decoded once."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.benchmarks.training.scripts.fitting import asked, fit_and_evaluate


def main() -> None:
    """Train on pictures in memory, in a new order every epoch."""
    told = asked()

    def split(name: str) -> Any:
        return keras.utils.image_dataset_from_directory(
            f"{told['data']}/{name}", image_size=(told["size"], told["size"]), batch_size=None, shuffle=False
        )

    def batches(pictures: Any) -> Any:
        return pictures.batch(told["batch_size"]).prefetch(tf.data.AUTOTUNE)

    train = split("train").cache()
    shuffled = train.shuffle(train.cardinality(), seed=told["seed"])
    fit_and_evaluate(told, batches(shuffled), batches(split("validation").cache()), batches(split("test")))


if __name__ == "__main__":
    main()
