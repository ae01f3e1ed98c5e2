"""What Keras's fit takes: our batches, all of them, in order, and no pipeline whose tuner an epoch would wait for."""

from __future__ import annotations

import keras
import numpy as np

from stages.network.feed import Feed
from stages.training.batches import Batches
from stages.training.fitting import as_dataset
from tests.stages import tiny


def test_batches_come_as_they_are_without_a_tuner() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (23, tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8)
    other = np.arange(23, dtype=np.float32)[:, None]
    batches = Batches(Feed(tiny.network(0), (pixels, other)), np.arange(23, dtype=np.int32), np.arange(23), batch_size=10, seed=0)
    batches.start(1)
    found = as_dataset(batches)
    if keras.backend.backend() != "tensorflow":
        assert found is batches
        return
    assert found.options().autotune.enabled is False
    assert int(found.cardinality()) == 3
    shown = list(found.as_numpy_iterator())
    assert [len(labels) for _, labels in shown] == [10, 10, 3]
    for ((first, second), labels), ((pictures, numbers), indices) in zip(shown, map(batches.__getitem__, range(3)), strict=True):
        assert np.array_equal(first, pictures) and first.dtype == np.uint8
        assert np.array_equal(second, numbers) and np.array_equal(labels, indices)
