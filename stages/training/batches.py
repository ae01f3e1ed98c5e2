"""Training batches, in an order that follows from the seed and the epoch alone."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from stages.network.feed import Feed


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # keras has no types
    """Training batches (input, class index): every image once an epoch, in a new seeded order, the last batch uneven.

    Plain Keras fit takes it too, with any Feed of the same images: so both can be given the very same batches.
    """

    def __init__(self, feed: Feed, labels: NDArray[np.int32], rows: NDArray[np.int64], batch_size: int, seed: int) -> None:
        super().__init__(workers=0)
        self.feed = feed
        self.labels = labels
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.order = rows

    def start(self, epoch: int) -> None:
        """Shuffle for this epoch (counted from 1)."""
        self.feed = self.feed.at(epoch)
        self.order = np.random.default_rng([self.seed, epoch]).permutation(self.rows)

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __getitem__(self, step: int) -> tuple[Any, NDArray[np.int32]]:
        rows = self.order[step * self.batch_size : (step + 1) * self.batch_size]
        return self.feed.take(rows), self.labels[rows]
