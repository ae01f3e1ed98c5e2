"""Re-estimated BatchNorm statistics equal a reference in numpy, and touch only the layers that learn."""

import keras
import numpy as np

from stages.network import batchnorm
from stages.network.feed import Feed
from tests.stages import tiny


def images(number: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8)


def convolve(x: np.ndarray, layer: keras.layers.Conv2D) -> np.ndarray:
    """A 3 x 3 convolution with "same" padding in float64."""
    kernel, bias = (np.asarray(w, np.float64) for w in layer.get_weights())
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    return bias + sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))


def normalise(x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return (x - mean) / np.sqrt(variance + 1e-3)  # gamma 1, beta 0: as initialised


def test_statistics_equal_those_computed_in_numpy() -> None:
    network = tiny.network(unfreeze=7)  # conv2 and what follows
    pixels = images()
    got = batchnorm.estimate(
        batchnorm.batch_mode(network, batchnorm.learning(network)), Feed(network, (pixels,)), np.arange(50), 16
    )
    shortcut = np.asarray(keras.Model(network.input, network.get_layer("relu1").output).predict(pixels, verbose=0), np.float64)
    inner, outer = [], []
    for start in range(0, 48, 16):  # the last two images are no whole batch
        x = convolve(shortcut[start : start + 16], network.get_layer("conv2"))
        inner.append((x.mean((0, 1, 2)), x.var((0, 1, 2))))
        x = convolve(np.maximum(normalise(x, *inner[-1]), 0), network.get_layer("conv3"))
        outer.append((x.mean((0, 1, 2)), x.var((0, 1, 2))))
    assert list(got) == ["bn2", "bn3"]
    for name, batches in (("bn2", inner), ("bn3", outer)):
        means, variances = np.array(batches).transpose(1, 0, 2)
        np.testing.assert_allclose(got[name][0], means.mean(0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(got[name][1], (variances + means**2).mean(0) - means.mean(0) ** 2, rtol=1e-4)


def test_only_unfrozen_layers_are_re_estimated() -> None:
    assert batchnorm.learning(tiny.network(unfreeze=0)) == []
    assert batchnorm.learning(tiny.network(unfreeze=3)) == ["bn3"]
    assert batchnorm.learning(tiny.network(unfreeze="all")) == ["bn1", "bn2", "bn3"]


def test_estimating_changes_nothing_in_the_network() -> None:
    network = tiny.network(unfreeze="all")
    before = network.get_weights()
    batchnorm.estimate(batchnorm.batch_mode(network, batchnorm.learning(network)), Feed(network, (images(),)), np.arange(50), 16)
    assert all(np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True))


def test_batch_mode_is_what_keras_does_in_training() -> None:
    network = tiny.network(unfreeze=7)
    pixels = images(16)
    expected = keras.ops.convert_to_numpy(network(pixels, training=True))
    got = batchnorm.batch_mode(network, batchnorm.learning(network)).output.predict_on_batch(pixels)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert np.abs(got - network.predict_on_batch(pixels)).max() > 1e-3


def test_estimates_follow_the_weights() -> None:
    network = tiny.network(unfreeze="all")
    mode, feed = batchnorm.batch_mode(network, ["bn1"]), Feed(network, (images(),))
    before = batchnorm.estimate(mode, feed, np.arange(50), 50)["bn1"][0]
    layer = network.get_layer("conv1")
    layer.set_weights([2 * w for w in layer.get_weights()])
    np.testing.assert_allclose(batchnorm.estimate(mode, feed, np.arange(50), 50)["bn1"][0], 2 * before, rtol=1e-4)


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    network = tiny.network(unfreeze="all")
    mode, feed = batchnorm.batch_mode(network, ["bn1"]), Feed(network, (images(),))
    assert np.array_equal(
        batchnorm.estimate(mode, feed, np.arange(5), 64)["bn1"][1], batchnorm.estimate(mode, feed, np.arange(5), 5)["bn1"][1]
    )
