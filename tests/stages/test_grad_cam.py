"""Grad-CAM against what can be computed by hand, on networks of every make, and equal on both backends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.signal import correlate

from kpipe.stage import StageError
from stages.network import keras_files
from stages.network.grad_cam import GradCam
from tests.stages import tiny

SIZE, CHANNELS, CLASSES = 8, 3, 4
RNG = np.random.default_rng(11)
IMAGES = RNG.integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
NAMES = np.array([3, 0, 2, 2, 1])


def trunk() -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Pixels, and a convolution on them."""
    image = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="image")
    pixels = keras.layers.Rescaling(1 / 255, name="pixels")(image)
    return image, keras.layers.Conv2D(CHANNELS, 3, activation="relu", name="conv")(pixels)


def network(*head: keras.layers.Layer) -> keras.Model:
    """The convolution under a head, with weights of both signs."""
    image, values = trunk()
    for layer in head:
        values = layer(values)
    model = keras.Model(image, values)
    rng = np.random.default_rng(4)
    model.set_weights([rng.normal(0, 0.5, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def softmax(name: str = "probabilities") -> keras.layers.Layer:
    return keras.layers.Dense(CLASSES, activation="softmax", name=name)


def pool() -> keras.layers.Layer:
    return keras.layers.GlobalAveragePooling2D(name="pool")


def heat(model: keras.Model, images: np.ndarray = IMAGES, names: np.ndarray = NAMES) -> np.ndarray:
    cam = GradCam.of(model)
    return cam.heat(cam.below.predict_on_batch(images), names)


def convolved(model: keras.Model) -> np.ndarray:
    """(N, h, w, C): what the convolution gives, by SciPy."""
    kernel, bias = model.get_layer("conv").get_weights()
    pixels = IMAGES / 255
    maps = [[correlate(picture, kernel[..., k], "valid")[..., 0] + bias[k] for k in range(CHANNELS)] for picture in pixels]
    return np.maximum(np.moveaxis(np.array(maps), 1, -1), 0)


def explained(maps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.maximum((maps * weights[:, None, None, :]).sum(axis=-1), 0)


def test_with_a_pooled_linear_head_it_is_the_class_activation_map() -> None:
    model = network(pool(), softmax())
    maps, kernel = convolved(model), model.get_layer("probabilities").get_weights()[0]
    places = maps.shape[1] * maps.shape[2]
    expected = explained(maps, kernel.T[NAMES] / places)  # Zhou et al. 2016
    assert expected.max() > 0.01 and (expected == 0).any()
    np.testing.assert_allclose(heat(model), expected, atol=1e-6)


def test_a_flattened_head_has_the_mean_of_its_weights_over_the_places() -> None:
    model = network(keras.layers.Flatten(), softmax())
    maps = convolved(model)
    kernel = model.get_layer("probabilities").get_weights()[0].reshape(*maps.shape[1:], CLASSES)
    np.testing.assert_allclose(heat(model), explained(maps, kernel.mean(axis=(0, 1)).T[NAMES]), atol=1e-6)


def test_a_hidden_layer_passes_on_what_its_open_units_do() -> None:
    model = network(pool(), keras.layers.Dense(16, activation="relu", name="hidden"), keras.layers.Dropout(0.5), softmax())
    maps = convolved(model)
    (first, bias), (second, _) = (model.get_layer(name).get_weights() for name in ("hidden", "probabilities"))
    open_units = maps.mean(axis=(1, 2)) @ first + bias > 0
    weights = (open_units * second.T[NAMES]) @ first.T / maps[0, ..., 0].size
    assert 0 < open_units.mean() < 1
    np.testing.assert_allclose(heat(model), explained(maps, weights), atol=1e-6)


@pytest.mark.parametrize(
    "last",
    [
        lambda: [keras.layers.Dense(CLASSES, name="probabilities")],
        lambda: [keras.layers.Dense(CLASSES, name="probabilities"), keras.layers.Softmax()],
        lambda: [keras.layers.Dense(CLASSES, name="probabilities"), keras.layers.Activation("softmax")],
    ],
    ids=["scores", "softmax layer", "activation layer"],
)
def test_scores_are_found_wherever_the_softmax_stands(last) -> None:
    np.testing.assert_allclose(heat(network(pool(), *last())), heat(network(pool(), softmax())), atol=1e-7)


def test_nested_networks_are_explained_as_flat_ones() -> None:
    def parts() -> tuple[keras.Model, keras.Sequential]:
        image, values = trunk()
        values = keras.layers.ReLU(name="relu")(keras.layers.Conv2D(5, 3, name="conv2")(values))
        return keras.Model(image, values, name="trunk"), keras.Sequential([pool(), softmax()], name="top")

    (below, top), image = parts(), keras.Input((SIZE, SIZE, 3), dtype="uint8")
    flat = keras.Model(below.input, top.layers[1](top.layers[0](below.output)))
    expected = heat(flat)
    assert expected.shape == (5, 4, 4) and expected.max() > 0
    for nested in (
        keras.Model(image, top(below(image))),
        keras.Sequential([below, *top.layers]),
        keras.Sequential([keras.Input((SIZE, SIZE, 3), dtype="uint8"), keras.Sequential([below]), top]),
    ):
        assert GradCam.of(nested).name == GradCam.of(flat).name == "relu"
        np.testing.assert_allclose(heat(nested), expected, atol=1e-7)


def test_an_image_is_explained_the_same_in_any_company() -> None:
    model = network(keras.layers.BatchNormalization(), pool(), softmax())
    alone = np.concatenate([heat(model, IMAGES[i : i + 1], NAMES[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(heat(model), alone, atol=1e-6)


def test_what_lies_where_the_evidence_is_lights_up() -> None:
    model = network(pool(), softmax())
    red = np.zeros((3, 3, 3, CHANNELS), np.float32)
    red[:, :, 0, 0], red[:, :, 1:, 0] = 1, -1  # the first channel finds red, the others nothing
    model.get_layer("conv").set_weights([red, np.zeros(CHANNELS, np.float32)])
    kernel = np.zeros((CHANNELS, CLASSES), np.float32)
    kernel[0, 2], kernel[0, 1] = 1, -1
    model.get_layer("probabilities").set_weights([kernel, np.zeros(CLASSES, np.float32)])
    image = np.full((1, SIZE, SIZE, 3), 30, np.uint8)
    image[0, 5:8, 0:3] = 250, 0, 0
    found = heat(model, image, np.array([2]))[0]
    assert np.unravel_index(found.argmax(), found.shape) == (5, 0)
    assert not found[:3].any() and not found[:, 3:].any()
    assert not heat(model, image, np.array([1])).any()  # red speaks against this class


def block(values: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """A residual block of half the places."""
    short = keras.layers.Conv2D(4, 1, strides=2, padding="same", name=f"{name}_short")(values)
    long = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name=f"{name}_long")(values)
    return keras.layers.Activation("relu", name=f"{name}_out")(keras.layers.Add()([short, long]))


@pytest.mark.parametrize(
    ("size", "name", "last"),
    [(64, "c_out", True), (32, "c_out", True), (16, "b_out", False), (4, "a_out", False), (2, "c_out", True)],
)
def test_the_map_is_the_last_with_places_enough_and_none_inside_a_branch(size: int, name: str, last: bool) -> None:
    image = keras.Input((size, size, 3), dtype="uint8", name="image")
    values = keras.layers.Rescaling(1 / 255)(image)
    for part in "abc":
        values = block(values, part)
    values = keras.layers.AveragePooling2D(2, padding="same")(values)
    cam = GradCam.of(keras.Model(image, softmax()(keras.layers.Flatten()(values))))
    assert (cam.name, cam.last) == (name, last)


def test_a_map_that_something_goes_around_is_not_taken() -> None:
    image, values = trunk()
    values = keras.layers.ReLU(name="split")(values)
    beside = keras.layers.Conv2D(4, 3, name="beside")(values)
    joined = keras.layers.Concatenate()([pool()(values), keras.layers.GlobalMaxPooling2D()(beside)])
    model = keras.Model(image, softmax()(joined))
    assert GradCam.of(model).name == "split"
    assert heat(model).shape == (5, 6, 6)


def test_a_network_without_a_convolution_is_refused() -> None:
    image = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    model = keras.Model(image, softmax()(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))))
    with pytest.raises(StageError, match="no feature map"):
        GradCam.of(model)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "size", "name"),
    [
        ("vgg16", 96, "block5_conv3"), ("vgg16", 32, "block4_conv3"),
        ("resnet50", 128, "conv5_block3_out"), ("resnet50", 96, "conv4_block6_out"), ("resnet50", 32, "conv3_block4_out"),
    ],
)  # fmt: skip
def test_maps_of_the_backbones(model: str, size: int, name: str) -> None:
    build = {"vgg16": keras.applications.VGG16, "resnet50": keras.applications.ResNet50}[model]
    with keras_files.no_random_weights():
        backbone = build(include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg")
    assert GradCam.of(keras.Model(backbone.input, softmax()(backbone.output))).name == name


HEAT = """
import sys
import keras, numpy as np
from stages.network.grad_cam import GradCam
model, images, names = keras.models.load_model(sys.argv[1]), np.load(sys.argv[2]), np.load(sys.argv[3])
cam = GradCam.of(model)
np.save(sys.argv[4], cam.heat(cam.below.predict_on_batch(images), names))
print(keras.backend.backend())
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"pooling": "flatten", "units": 8, "dropout": 0.3}], ids=["pooled", "flattened"])
def test_both_backends_explain_the_same(tmp_path: Path, options: dict[str, object]) -> None:
    keras_files.write(tiny.network(4, **options), tmp_path / "model.keras")
    rng = np.random.default_rng(2)
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (6, tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8))
    np.save(tmp_path / "names.npy", np.arange(6) % 3)
    found = {}
    for backend in ("tensorflow", "jax"):
        files = [tmp_path / f"{name}" for name in ("model.keras", "images.npy", "names.npy", f"{backend}.npy")]
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", HEAT, *map(str, files)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
        )
        assert done.stdout.strip() == backend, done.stderr
        found[backend] = np.load(files[-1])
    assert (found["jax"].max(axis=(1, 2)) > 0).sum() >= 4
    np.testing.assert_allclose(found["jax"], found["tensorflow"], rtol=1e-3, atol=1e-5 * found["jax"].max())
