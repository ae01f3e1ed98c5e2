"""Where a network is cut: at what can change, or below it where that is cheaper, whatever the head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from stages.network import cut, graph, head
from tests.stages import tiny

layers = keras.layers


def small(unfreeze: int | str, **options: Any) -> tuple[keras.Model, list[str]]:
    return tiny.network(unfreeze, **options), tiny.layer_names(tiny.backbone())


@pytest.mark.parametrize(
    ("unfreeze", "names"),
    [
        (0, ["out"]),
        (2, ["out"]),  # Add and Activation learn nothing
        (3, ["conv3", "relu1"]),  # bn3, and the shortcut around it
        (4, ["relu2", "relu1"]),
        (7, ["relu1"]),
        (8, ["relu1"]),
        (10, ["pixels"]),
        ("all", ["pixels"]),
    ],
)
def test_frontier_carries_every_output_that_cannot_change_into_what_can(unfreeze: int | str, names: list[str]) -> None:
    network, backbone = small(unfreeze, pooling="flatten", units=4, dropout=0.5)
    assert sorted(cut.frontier(network, backbone)) == sorted(names)


@pytest.mark.parametrize(("unfreeze", "names"), [(0, ["out"]), (3, ["relu1", "conv3"]), (4, ["relu1", "relu2"])])
def test_cut_is_the_frontier_where_nothing_below_it_is_cheaper(unfreeze: int, names: list[str]) -> None:
    assert cut.place(*small(unfreeze)) == names


@pytest.mark.parametrize("unfreeze", [7, 10, "all"])
def test_nothing_is_stored_where_little_or_nothing_is_frozen(unfreeze: int | str) -> None:
    assert cut.place(*small(unfreeze)) == []


def test_cut_does_not_depend_on_the_head() -> None:
    heads: list[dict[str, Any]] = [{"pooling": "avg"}, {"pooling": "flatten", "units": 8}, {"units": 4, "dropout": 0.5}]
    assert {tuple(cut.place(*small(4, **options))) for options in heads} == {("relu1", "relu2")}


def with_top(make: Callable[[Any], Any], *, frozen: int) -> tuple[keras.Model, list[str]]:
    """A network of a costly convolution, then whatever `make` adds; the first `frozen` layers do not learn."""
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = layers.Conv2D(16, 9, strides=4, padding="same", name="stem")(layers.Rescaling(1 / 255, name="pixels")(image))
    trunk = keras.Model(image, make(x))
    names = tiny.layer_names(trunk)
    network = head.attach(trunk, classes=2, pooling="flatten", units=0, dropout=0.0)
    head.unfreeze(network, names, len(names) - frozen, batchnorm=True)
    return network, names


def test_expansion_is_computed_anew_and_its_input_stored() -> None:
    def inverted_residual(x: Any) -> Any:
        wide = layers.Activation("relu", name="relu")(layers.Conv2D(64, 1, use_bias=False, name="expand")(x))
        return layers.DepthwiseConv2D(3, padding="same", name="depthwise")(wide)

    network, names = with_top(inverted_residual, frozen=4)
    assert cut.frontier(network, names) == ["relu"] and cut.place(network, names) == ["stem"]


def test_branches_that_need_no_arithmetic_are_computed_anew() -> None:
    def preactivated(x: Any) -> Any:
        inner = layers.Activation("relu", name="relu")(layers.BatchNormalization(name="bn")(x))
        return layers.Add(name="add")([x, layers.Conv2D(16, 3, padding="same", name="conv")(inner)])

    network, names = with_top(preactivated, frozen=4)
    assert cut.frontier(network, names) == ["relu", "stem"] and cut.place(network, names) == ["stem"]


def test_head_that_pools_is_cut_behind_the_pooling_and_no_other() -> None:
    for options, above in (({"pooling": "avg"}, ["pool"]), ({"pooling": "flatten"}, [])):
        network, names = small(0, **options)
        assert cut.reduced(network, cut.place(network, names)) == above
    assert cut.reduced(small(4)[0], ["relu1", "relu2"]) == []


def test_pooling_that_an_earlier_phase_may_have_changed_the_input_of_is_not_cut_behind() -> None:
    def strided(x: Any) -> Any:
        return layers.Conv2D(2, 3, strides=4, name="learned")(x)

    network, _ = with_top(strided, frozen=2)
    network.get_layer("learned").trainable = False
    assert cut.reduced(network, ["stem"]) == []


def test_parts_of_a_network_give_together_what_the_whole_gives() -> None:
    network, names = small(4)
    found = cut.place(network, names)
    below, above = graph.part(network, [], found), graph.part(network, found, [])
    pixels = np.random.default_rng(0).integers(0, 256, (5, tiny.SIZE, tiny.SIZE, 3)).astype("uint8")
    parts = above.predict_on_batch(tuple(below.predict_on_batch(pixels)))
    np.testing.assert_allclose(parts, network.predict_on_batch(pixels), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("application", "unfreeze", "names", "bytes_an_image"),
    [
        ("ResNet50", 0, ["conv5_block3_out"], 204_800),
        ("ResNet50", 8, ["conv5_block2_out", "conv5_block3_1_relu"], 256_000),
        ("ResNet50", 17, ["conv5_block1_out", "conv5_block2_1_relu"], 256_000),
        ("VGG16", 0, ["block5_pool"], 32_768),
        ("VGG16", 4, ["block4_pool"], 165_888),
        ("VGG16", 17, [], 0),  # 5.8 MB an image would save a half per cent of the arithmetic
        ("ResNet50V2", 11, ["conv5_block2_out"], 204_800),  # its first activation is computed anew
        ("MobileNetV2", 0, ["out_relu"], 128_000),
    ],
)
def test_cuts_of_real_backbones_at_150_pixels(application: str, unfreeze: int, names: list[str], bytes_an_image: int) -> None:
    image = keras.Input((150, 150, 3), dtype="uint8", name="image")
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0, name="pixels")(image)
    trunk = getattr(keras.applications, application)(include_top=False, weights=None, input_tensor=scaled)
    backbone = tiny.layer_names(trunk)
    network = head.attach(trunk, classes=2, pooling="avg", units=0, dropout=0.0)
    head.unfreeze(network, backbone, unfreeze, batchnorm=True)
    found = cut.place(network, backbone)
    assert found == names
    assert 4 * sum(cut.values(op) for op in network.operations if op.name in found) == bytes_an_image
