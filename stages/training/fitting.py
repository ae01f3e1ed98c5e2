"""Keras's fit of one epoch, on one device or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from stages.network import parallel
from stages.training.batches import Batches


class First(keras.utils.PyDataset):  # type: ignore[misc]
    """The first so many of other batches."""

    def __init__(self, batches: keras.utils.PyDataset, length: int) -> None:
        super().__init__(workers=0)
        self.batches = batches
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, step: int) -> Any:
        return self.batches[step]


def fit_epoch(
    model: keras.Model, batches: Batches, callbacks: Sequence[keras.callbacks.Callback], **options: Any
) -> dict[str, float]:
    """Keras's own fit of one epoch, and its means over all images.

    A last batch that leaves a rest when it is divided is a step of its own, which every device computes whole: Keras would
    divide it all the same and give unequal shares equal weights (TensorFlow), or fail (JAX).
    """
    images, steps = len(batches.rows), len(batches)
    left = images % batches.batch_size if images % batches.batch_size % parallel.number() else 0
    means: dict[str, float] = {}
    if images > left:
        whole = First(batches, steps - 1) if left else batches
        model.fit(whole, shuffle=False, verbose=0, callbacks=callbacks, **options)
        means = {name: float(values[-1]) for name, values in model.history.history.items()}
    if not left:
        return means
    last = model.train_on_batch(*batches[steps - 1], class_weight=options.get("class_weight"), return_dict=True)
    for callback in callbacks:
        callback.on_train_batch_end(steps - 1, last)
    return {name: (means.get(name, 0.0) * (images - left) + float(last[name]) * left) / images for name in last}
