"""Backbones with their pixel contract inside, and weights files that fit or are refused."""

import hashlib
import json
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import keras
import numpy as np
import pytest

from kpipe.stage import Stage, StageError
from stages import build
from stages.backbones import resnet50, vgg16
from stages.network import keras_files, weights
from stages.pixels import CONTRACTS, apply
from tests.stages import tiny

TINY = cast(ModuleType, SimpleNamespace(NAME="Tiny", APPLICATION="ResNet50", IMAGENET={"file": "tiny_notop.h5", "md5": ""}))


def stage(folder: Path, model: str, scaling: str = "model", name: str = "out") -> Stage:
    (folder / "preprocess").mkdir(exist_ok=True)
    applied = CONTRACTS["caffe" if scaling == "model" else scaling].to_json()
    pixels = {"scaling": scaling, "backbone": model, "image_size": [32, 32], "contract": applied}
    tiny.dump(folder / "preprocess" / "pixels.json", pixels)
    return Stage(inputs={"preprocess": folder / "preprocess"}, out=folder / name, modules={model: f"stages.backbones.{model}"})


@pytest.mark.parametrize("module", [resnet50, vgg16])
def test_the_layers_are_those_that_keras_lists(module: ModuleType) -> None:
    network = build.construct(module, (32, 32), CONTRACTS["caffe"])
    told = build.describe(network)
    listed = getattr(keras.applications, module.APPLICATION)(include_top=False, weights=None, input_shape=(32, 32, 3))
    assert told["backbone_layers"][1:] == [layer.name for layer in listed.layers[1:]]
    assert len(told["backbone_layers"]) == module.LAYERS
    assert told["parameters"] == listed.count_params()
    assert set(module.BLOCKS) <= set(told["backbone_layers"])


def test_flops_are_counted_as_the_papers_count_them() -> None:
    told = build.describe(build.construct(vgg16, (224, 224), CONTRACTS["caffe"]))
    assert told["flops"] == pytest.approx(2 * 15.35e9, rel=0.01)  # 15.3 billion multiply-adds in the convolutions


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_pixel_contract_is_inside(name: str) -> None:
    network = build.construct(vgg16, (32, 40), CONTRACTS[name])
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 40, 3), dtype=np.uint8)
    given = keras.Model(network.input, network.get_layer("pixels").output).predict(images, verbose=0)
    np.testing.assert_allclose(given, apply(CONTRACTS[name], images), atol=1e-4)


@pytest.mark.slow
def test_the_same_build_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first = stage(tmp_path, "vgg16", name="first")
    build.run(first, model="vgg16", seed=3)
    second = stage(tmp_path, "vgg16", name="second")
    build.run(second, model="vgg16", seed=3)
    assert tiny.content(first.out) == tiny.content(second.out)
    told = json.loads((first.out / "pixels.json").read_text())
    assert told == {"applied": CONTRACTS["caffe"].to_json(), "expected": None, "scaling": "model", "weights": "random"}


def test_the_scaling_of_the_weights_is_told_apart_from_what_is_applied(tmp_path: Path) -> None:
    file = tmp_path / "mine.weights.h5"
    build.construct(vgg16, (32, 32), CONTRACTS["unit"]).save_weights(file)
    asked = stage(tmp_path, "vgg16", name="asked", scaling="symmetric")
    build.run(asked, model="vgg16", weights=file, weights_scaling="unit")
    told = json.loads((asked.out / "pixels.json").read_text())
    assert (told["applied"], told["expected"]) == (CONTRACTS["symmetric"].to_json(), CONTRACTS["unit"].to_json())
    assert told["weights"] == "mine.weights.h5"


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(StageError, match="at least 32 x 32"):
        build.construct(vgg16, (32, 31), CONTRACTS["caffe"])


def source() -> keras.Model:
    """The tiny backbone with weights of its own."""
    model = tiny.backbone()
    rng = np.random.default_rng(9)
    model.set_weights([rng.uniform(0.1, 1, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def same(a: keras.Model, b: keras.Model) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


def save(model: keras.Model, path: Path) -> Path:
    model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)
    return path


@pytest.mark.parametrize("name", ["mine.weights.h5", "mine.keras", "mine.h5"])
def test_weights_are_loaded_from_every_kind_of_file(tmp_path: Path, name: str) -> None:
    path, model = save(source(), tmp_path / name), tiny.backbone()
    weights.load(model, path, TINY)
    assert same(model, source())


def test_a_backbone_inside_another_model_is_found(tmp_path: Path) -> None:
    image = keras.Input((tiny.SIZE, tiny.SIZE, 3), dtype="uint8")
    whole = keras.Model(image, keras.layers.Flatten()(source()(image)))
    model = tiny.backbone()
    weights.load(model, save(whole, tmp_path / "whole.keras"), TINY)
    assert same(model, source())


@pytest.mark.parametrize("name", ["other.weights.h5", "other.keras", "other.h5"])
def test_weights_of_another_network_are_refused(tmp_path: Path, name: str) -> None:
    inputs = keras.Input((tiny.SIZE, tiny.SIZE, 3))
    path = save(keras.Model(inputs, keras.layers.Conv2D(5, 3, name="conv1")(inputs)), tmp_path / name)
    with pytest.raises(StageError, match="does not hold the weights of Tiny"):
        weights.load(tiny.backbone(), path, TINY)


def test_weights_of_a_deeper_network_are_refused(tmp_path: Path) -> None:
    small = source()
    deeper = keras.Model(small.input, keras.layers.Conv2D(8, 3)(small.output))
    with pytest.raises(StageError, match="too many"):
        weights.load(tiny.backbone(), save(deeper, tmp_path / "deeper.weights.h5"), TINY)


def test_a_top_that_is_not_needed_does_no_harm(tmp_path: Path) -> None:
    small = source()
    topped = keras.Model(small.input, keras.layers.Dense(4)(keras.layers.Flatten()(small.output)))
    model = tiny.backbone()
    weights.load(model, save(topped, tmp_path / "topped.weights.h5"), TINY)
    assert same(model, source())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("name", ["cut.weights.h5", "cut.keras", "cut.h5"])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, share: float) -> None:
    path = save(source(), tmp_path / name)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(StageError, match="truncated"):
        weights.load(tiny.backbone(), path, TINY)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    broken = source()
    broken.get_layer("conv2").set_weights([np.full((3, 3, 8, 8), np.nan), np.zeros(8)])
    with pytest.raises(StageError, match="not finite"):
        weights.load(tiny.backbone(), save(broken, tmp_path / "nan.weights.h5"), TINY)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no weights file"):
        weights.load(tiny.backbone(), tmp_path / "weights.pt", TINY)


def test_missing_imagenet_weights_name_the_file_and_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(**options: Any) -> None:
        raise Exception("URL fetch failure")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.applications, "ResNet50", no_network)
    with pytest.raises(StageError) as caught:
        weights.load(tiny.backbone(), "imagenet", TINY)
    assert caught.value.hint == f"put tiny_notop.h5 into {tmp_path / 'models'}"


def test_half_downloaded_imagenet_weights_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    path = save(source(), tmp_path / "models" / "tiny_notop.h5")
    with pytest.raises(StageError, match="half-downloaded"):
        weights.load(tiny.backbone(), "imagenet", TINY)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    whole = cast(ModuleType, SimpleNamespace(NAME="Tiny", IMAGENET={"file": path.name, "md5": md5}))
    model = tiny.backbone()
    weights.load(model, "imagenet", whole)
    assert same(model, source())


def test_a_keras_file_has_the_same_bytes_whenever_its_content_is_the_same(tmp_path: Path) -> None:
    for name in ("a", "b"):
        keras_files.write(tiny.backbone(), tmp_path / f"{name}.keras")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    assert same(keras_files.read(tmp_path / "a.keras"), tiny.backbone())


def test_reading_a_file_draws_no_random_weights_and_changes_none_that_are_drawn_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras_files.write(tiny.backbone(), tmp_path / "backbone.keras")
    drawn: list[tuple[int, ...]] = []
    scaling = keras.initializers.VarianceScaling
    drawing = scaling.__call__
    monkeypatch.setattr(
        scaling, "__call__", lambda self, shape, dtype=None: (drawn.append(shape), drawing(self, shape, dtype))[1]
    )

    def head_of_what_was_read() -> np.ndarray:
        keras.utils.set_random_seed(3)
        dense = keras.layers.Dense(4)
        dense(keras.layers.Flatten()(keras_files.read(tmp_path / "backbone.keras").output))
        return np.array(dense.kernel)

    quick = head_of_what_was_read()
    assert len(drawn) == 1 and np.abs(quick).max() > 0
    monkeypatch.setattr(keras_files, "no_random_weights", nullcontext)
    assert np.array_equal(head_of_what_was_read(), quick)
    assert len(drawn) == 1 + 4
