"""Pixel contracts: what the network's first layer receives."""

import numpy as np
import pytest
from keras.applications.imagenet_utils import preprocess_input

from stages.backbones import resnet50
from stages.pixels import CONTRACTS, Contract, apply, contract, unapply

PIXELS = np.array([[[255, 0, 128]], [[0, 255, 1]]], np.uint8)


def test_caffe_is_bgr_minus_the_imagenet_means():
    expected = PIXELS[..., ::-1].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)
    found = apply(CONTRACTS["caffe"], PIXELS)
    assert found.dtype == np.float32 and (found == expected).all()


@pytest.mark.parametrize(("name", "low", "high"), [("unit", 0, 1), ("symmetric", -1, 1), ("none", 0, 255)])
def test_other_contracts_keep_rgb_and_have_their_range(name, low, high):
    found = apply(CONTRACTS[name], PIXELS)
    assert np.allclose([found.min(), found.max()], [low, high], atol=1e-6)
    assert (found.argmax(-1) == PIXELS.argmax(-1)).all()


@pytest.mark.parametrize(("name", "mode"), [("caffe", "caffe"), ("symmetric", "tf"), ("torch", "torch")])
def test_what_keras_calls_it(name, mode):
    expected = preprocess_input(PIXELS.astype(np.float32), data_format="channels_last", mode=mode)
    np.testing.assert_allclose(apply(CONTRACTS[name], PIXELS), expected, atol=1e-5)


def test_the_image_itself_is_not_changed():
    images = PIXELS.copy()
    assert (apply(CONTRACTS["caffe"], images) == apply(CONTRACTS["caffe"], images)).all() and (images == PIXELS).all()


def test_model_means_what_the_backbone_says():
    assert contract("model", resnet50) == CONTRACTS["caffe"] and contract("unit", resnet50) == CONTRACTS["unit"]


@pytest.mark.parametrize("name", CONTRACTS)
def test_json_gives_the_same_contract_back(name):
    assert Contract.from_json(CONTRACTS[name].to_json()) == CONTRACTS[name]


@pytest.mark.parametrize("name", CONTRACTS)
def test_unapply_undoes_apply(name):
    assert (unapply(CONTRACTS[name], apply(CONTRACTS[name], PIXELS)) == PIXELS).all()


def test_weights_that_want_caffe_read_unit_pixels_as_the_mean_colour():
    seen = unapply(CONTRACTS["caffe"], apply(CONTRACTS["unit"], PIXELS)).astype(int)
    assert np.abs(seen - [124, 117, 104]).max() <= 1
