"""How many images a step takes: as many as memory allows."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from stages.network import feed
from stages.network.feed import Feed, images_a_step


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "side", "images"),
    [("VGG16", 224, 16), ("VGG16", 150, 32), ("VGG16", 48, 64), ("ResNet50", 150, 64), ("ResNet50", 224, 64)],
)
def test_maps_of_a_step_are_bounded(build: str, side: int, images: int) -> None:
    model = getattr(keras.applications, build)(include_top=False, weights=None, input_shape=(side, side, 3))
    assert images_a_step(model) == images
    largest = max(int(np.prod(layer.output.shape[1:])) for layer in model.layers)
    assert images * largest * 4 <= 2**28 < 2 * feed.BATCH * largest * 4 or images == feed.BATCH


def test_small_steps_give_what_one_step_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    image = keras.Input((6, 6, 3))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
    pixels = np.random.default_rng(0).normal(size=(23, 6, 6, 3)).astype(np.float32)
    rows = np.arange(23)
    whole = Feed(model, (pixels,)).predict(rows)
    monkeypatch.setattr(feed, "MAP", 5 * 6 * 6 * 3 * 4)
    assert images_a_step(model) == 4
    shown = [len(out[0]) for out in Feed(model, (pixels,)).outputs(rows)]
    assert shown == [4, 4, 4, 4, 4, 3]
    np.testing.assert_allclose(Feed(model, (pixels,)).predict(rows), whole, rtol=1e-5)
