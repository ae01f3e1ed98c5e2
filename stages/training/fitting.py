"""Keras's fit of one epoch, on one device or several."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from stages.network import parallel
from stages.training.batches import Batches

AHEAD = 2  # batches that are made while a step runs


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


def every(batches: keras.utils.PyDataset) -> Iterator[Any]:
    """The batches of an epoch."""
    return (batches[step] for step in range(len(batches)))


def fit(model: keras.Model, batches: keras.utils.PyDataset, **options: Any) -> None:
    """Keras's own fit on these batches in their order, which is silent."""
    model.fit(as_dataset(batches), shuffle=False, verbose=0, **options)


def as_dataset(batches: keras.utils.PyDataset) -> Any:
    """What Keras's fit is given for these batches: the same ones, on TensorFlow in a tf.data pipeline that is not tuned.

    Keras would make one that is. Its tuner sleeps for 10, 20, 40... milliseconds, and the end of an epoch waits for it: one of 7
    seconds takes 10.2, one of 11 seconds 20.5. The batches must be kept as long as it is used.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    kinds = keras.tree.map_structure(lambda values: tf.TensorSpec((None, *values.shape[1:]), values.dtype), batches[0])
    made = weakref.ref(batches)  # TensorFlow never forgets a generator, and with these it would not forget the network
    pipeline = tf.data.Dataset.from_generator(lambda: every(made()), output_signature=kinds)
    return pipeline.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(AHEAD).with_options(options)


def fit_epoch(
    model: keras.Model,
    batches: Batches,
    callbacks: Sequence[keras.callbacks.Callback],
    class_weight: dict[int, float] | None = None,
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
        fit(model, whole, callbacks=callbacks, class_weight=class_weight)
        means = {name: float(values[-1]) for name, values in model.history.history.items()}
    if not left:
        return means
    last = model.train_on_batch(*batches[steps - 1], class_weight=class_weight, return_dict=True)
    for callback in callbacks:
        callback.on_train_batch_end(steps - 1, last)
    return {name: (means.get(name, 0.0) * (images - left) + float(last[name]) * left) / images for name in last}
