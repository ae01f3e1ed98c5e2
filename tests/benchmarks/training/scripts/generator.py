"""Peer (c): the recipe of the older tutorials, ImageDataGenerator and flow_from_directory: Pillow decodes in every epoch."""

from __future__ import annotations

from typing import Any

from keras.src.legacy.preprocessing.image import ImageDataGenerator  # tf.keras.preprocessing.image.ImageDataGenerator

from tests.benchmarks.training.scripts.fitting import asked, fit_and_evaluate
from tests.benchmarks.training.scripts.network import preprocessing


def main() -> None:
    """Train on what the generator gives."""
    told = asked()
    generator = ImageDataGenerator(preprocessing_function=preprocessing(told["model"]).preprocess_input)

    def split(name: str, shuffle: bool = False) -> Any:
        return generator.flow_from_directory(
            f"{told['data']}/{name}",
            target_size=(told["size"], told["size"]),
            batch_size=told["batch_size"],
            class_mode="sparse",
            interpolation="bilinear",  # as the others; its own default is "nearest"
            shuffle=shuffle,
            seed=told["seed"],
        )

    fit_and_evaluate(told, split("train", shuffle=True), split("validation"), split("test"), preprocessed=True)


if __name__ == "__main__":
    main()
