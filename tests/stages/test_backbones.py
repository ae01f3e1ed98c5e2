"""The contract of a backbone module, for every file in stages/backbones."""

import ast
import importlib
from pathlib import Path

import pytest

import stages.backbones
from stages.pixels import CONTRACTS, apply

FOLDER = Path(stages.backbones.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
MEMBERS = {"NAME": str, "APPLICATION": str, "SCALING": str, "SMALLEST": int, "BLOCKS": list, "LAYERS": int, "IMAGENET": dict}


@pytest.fixture(params=NAMES)
def backbone(request):
    return importlib.import_module(f"stages.backbones.{request.param}")


@pytest.fixture
def network(backbone):
    keras = pytest.importorskip("keras")
    side = backbone.SMALLEST
    return getattr(keras.applications, backbone.APPLICATION)(include_top=False, weights=None, input_shape=(side, side, 3))


def test_both_backbones_are_there():
    assert {"resnet50", "vgg16"} <= set(NAMES)


def test_it_holds_literals_only(backbone):
    body = ast.parse(Path(backbone.__file__).read_text()).body[1:]
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in body}
    assert {name: type(value) for name, value in values.items()} == MEMBERS


def test_its_scaling_is_a_contract_and_its_weights_file_has_an_md5(backbone):
    assert backbone.SCALING in CONTRACTS
    assert set(backbone.IMAGENET) == {"file", "md5"} and len(backbone.IMAGENET["md5"]) == 32
    assert backbone.IMAGENET["file"].endswith("_notop.h5")


@pytest.mark.slow
def test_layers_and_block_ends_are_those_of_keras(backbone, network):
    names = [layer.name for layer in network.layers]
    assert len(names) == backbone.LAYERS
    positions = [names.index(block) for block in backbone.BLOCKS]
    assert positions == sorted(positions) and positions[-1] == len(names) - 1
    shapes = [network.get_layer(block).output.shape[1:3] for block in backbone.BLOCKS]
    assert shapes == sorted(shapes, reverse=True)


@pytest.mark.slow
def test_a_smaller_image_than_the_smallest_is_refused_by_keras(backbone):
    keras = pytest.importorskip("keras")
    side = backbone.SMALLEST - 1
    with pytest.raises(ValueError, match="Input size must be at least"):
        getattr(keras.applications, backbone.APPLICATION)(include_top=False, weights=None, input_shape=(side, side, 3))


@pytest.mark.slow
def test_the_weights_file_is_the_one_that_keras_downloads(backbone, monkeypatch):
    keras = pytest.importorskip("keras")
    from keras.src.utils import file_utils

    asked = {}

    def instead(name, *args, **kwargs):
        asked.update(kwargs, name=name)
        raise ConnectionError

    monkeypatch.setattr(file_utils, "get_file", instead)
    with pytest.raises(ConnectionError):
        getattr(keras.applications, backbone.APPLICATION)(include_top=False, weights="imagenet", input_shape=(64, 64, 3))
    assert {"file": asked["name"], "md5": asked["file_hash"]} == backbone.IMAGENET and asked["cache_subdir"] == "models"


@pytest.mark.slow
def test_its_contract_is_what_preprocess_input_does(backbone):
    import numpy as np

    pytest.importorskip("keras")
    module = importlib.import_module(f"keras.applications.{Path(backbone.__file__).stem}")
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    expected = module.preprocess_input(images.astype(np.float32))
    assert np.abs(apply(CONTRACTS[backbone.SCALING], images) - expected).max() < 1e-4
