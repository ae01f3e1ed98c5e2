"""A model together with the arrays that enter it, one row an image: raw pixels, or activations of a frozen prefix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from stages.network import parallel

BATCH = 64  # images a step where no batch statistics are taken, at most
MAP = 2**28  # bytes of the largest feature map of a step


class Array(Protocol):
    """Anything that gives rows of images: an array in memory, or one that reads them from the disk."""

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Feed:
    """`model` takes one batch of each of `arrays`, whose row i belongs to image i."""

    model: keras.Model
    arrays: tuple[Array, ...]

    def at(self, epoch: int) -> Feed:
        """The feed as it is in an epoch; only augmented ones change."""
        return self

    def take(self, rows: NDArray[np.int64]) -> Any:
        """The model's input for these images: one array, or a tuple of several."""
        batch = tuple(array[rows] for array in self.arrays)
        return batch[0] if len(batch) == 1 else batch

    def predict(
        self, rows: NDArray[np.int64], progress: Callable[[int], None] = lambda done: None, batch_size: int = 0
    ) -> NDArray[np.float32]:
        """The model's only output in inference mode, one row for each of `rows`, in their order."""
        results = [outputs[0] for outputs in self.outputs(rows, progress, batch_size)]
        return np.concatenate(results) if results else np.empty((0, *self.model.output_shape[1:]), np.float32)

    def outputs(
        self, rows: NDArray[np.int64], progress: Callable[[int], None] = lambda done: None, batch_size: int = 0
    ) -> Iterator[list[NDArray[Any]]]:
        """The model's outputs in inference mode, batch by batch; 0: of as many images as memory allows.

        Several devices share a batch evenly, so it may be somewhat larger. The last batch is filled up with copies of its
        last image, so that one shape is compiled; the copies' results are dropped. In inference mode no image has an
        effect on another.
        """
        batch_size = batch_size or images_a_step(self.model)
        batch_size += -batch_size % parallel.number()
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            filled = np.concatenate([batch, np.repeat(batch[-1:], batch_size - len(batch))])
            results = parallel.predict_on_batch(self.model, self.take(filled))
            yield [result[: len(batch)] for result in results]
            progress(start + len(batch))


def images_a_step(model: keras.Model) -> int:
    """BATCH, or fewer where the maps are large: the first ones of VGG16 at 224 x 224 take 13 MB an image."""
    tensors = [tensor for operation in model.operations for tensor in keras.tree.flatten(operation.output)]
    largest = max(math.prod(size or 1 for size in tensor.shape[1:]) for tensor in tensors) * np.dtype(np.float32).itemsize
    size = BATCH
    while size > 1 and size * largest > MAP:
        size //= 2
    return size
