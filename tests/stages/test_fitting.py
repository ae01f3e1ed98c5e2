"""What Keras's fit takes: our batches, all of them, in order, and no pipeline whose tuner an epoch would wait for."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from stages import train
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


@pytest.mark.slow
def test_steps_are_traced_in_the_first_epoch_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, traces, original = tiny.start(tmp_path), [0], keras.layers.Dense.call

    @wraps(original)  # Keras looks at the signature
    def counted(layer: keras.layers.Dense, *args: Any, **kwargs: Any) -> Any:
        traces[0] += 1
        return original(layer, *args, **kwargs)

    def traced(epochs: int) -> int:
        traces[0] = 0
        run.run("train", train.run, epochs=epochs, batch_size=17, unfreeze=4)  # the last batch is smaller
        return traces[0]

    monkeypatch.setattr(keras.layers.Dense, "call", counted)
    assert traced(4) == traced(1) > 0
