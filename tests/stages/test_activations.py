"""The frozen prefix: where it is cut, and that training on its activations is training of the whole network."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kpipe.stage import Stage, StageError
from stages.network import activations, head
from stages.network.feed import Feed
from stages.training.batches import Batches
from tests.stages import tiny

Network = Callable[[], tuple[keras.Model, list[str]]]


def small(unfreeze: int | str, **options: Any) -> tuple[keras.Model, list[str]]:
    network = tiny.network(unfreeze, **options)
    return network, tiny.layer_names(tiny.backbone())


@pytest.mark.parametrize(
    ("unfreeze", "cut"),
    [
        (0, ["out"]),
        (2, ["out"]),  # Add and Activation learn nothing
        (3, ["conv3", "relu1"]),  # bn3, and the shortcut around it
        (4, ["relu2", "relu1"]),
        (7, ["relu1"]),
        (8, ["relu1"]),
        (10, []),
        ("all", []),
    ],
)
def test_the_cut_is_the_frontier_of_what_can_change(unfreeze: int | str, cut: list[str]) -> None:
    network, layers = small(unfreeze, pooling="flatten", units=4, dropout=0.5)
    assert sorted(activations.frontier(network, layers)) == sorted(cut)


def test_the_cut_does_not_depend_on_the_head() -> None:
    assert activations.frontier(*small(0, pooling="avg")) == activations.frontier(*small(0, pooling="flatten", units=8))


def feed(folder: Path, network: keras.Model, layers: list[str]) -> Feed:
    """The network's tail with its activations, through the memo of a run."""
    run = tiny.start(folder)
    cut = activations.frontier(network, layers)
    return activations.feed(
        run.stage("train"),
        network,
        cut,
        backbone=run.inputs["build"] / "backbone.keras",
        images=run.inputs["ingest"] / "images.npy",
    )


def test_stored_activations_are_bitwise_those_of_the_whole_network(tmp_path: Path) -> None:
    network, layers = small(4)
    stored = feed(tmp_path, network, layers)
    pixels = np.load(tmp_path / "ingest" / "images.npy")
    cut = activations.frontier(network, layers)
    whole = keras.Model(network.input, [*activations.tensors(network, cut), network.output])
    for start in range(0, len(pixels), 20):
        *expected, output = whole.predict_on_batch(pixels[start : start + 20])
        rows = np.arange(start, min(start + 20, len(pixels)))
        for array, values in zip(stored.take(rows), expected, strict=True):
            assert np.array_equal(array, values)
        np.testing.assert_allclose(stored.predict(rows), output, atol=1e-6)


@pytest.fixture
def sums_as_written() -> Iterator[None]:
    """Both graphs add in the order in which they are written: TensorFlow's arithmetic optimizer reorders sums, by rounding,
    differently in a whole network than in its tail (found by switching its graph optimizers off one by one)."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    yield
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": True})


def losses(network: keras.Model, data: Feed, labels: np.ndarray, rows: np.ndarray, epochs: int = 3) -> list[float]:
    """Running mean of the loss after every step of plain Keras fit."""
    seen: list[float] = []
    batches = Batches(data, labels, rows, batch_size=20, seed=4)
    data.model.compile(keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(logs["loss"]))
    for epoch in range(1, epochs + 1):
        batches.start(epoch)
        data.model.fit(batches, epochs=epoch, initial_epoch=epoch - 1, shuffle=False, verbose=0, callbacks=[note])
    return seen


def trajectories(make: Network, pixels: np.ndarray, folder: Path) -> tuple[list[float], list[float], list[float]]:
    """Losses of the whole network, of its tail on stored activations, and of its tail on activations with one changed."""
    labels = (np.arange(len(pixels)) % 3).astype(np.int32)
    rows = np.arange(len(pixels) - 3)  # a last batch that is uneven
    results = []
    for kind in ("whole", "tail", "control"):
        keras.utils.set_random_seed(0)
        network, layers = make()
        cut = activations.frontier(network, layers)
        if kind == "whole":
            results.append(losses(network, Feed(network, (pixels,)), labels, rows))
            continue
        if not (folder / f"{cut[0]}.npy").exists():
            activations.compute(network, cut, pixels, folder, lambda done: None)
        arrays = [np.load(folder / f"{name}.npy") for name in cut]
        if kind == "control":
            arrays[0][5] *= 1.01
        results.append(losses(network, Feed(activations.tail(network, cut), tuple(arrays)), labels, rows))
    return results[0], results[1], results[2]


@pytest.mark.usefixtures("sums_as_written")
@pytest.mark.parametrize(
    ("unfreeze", "options"),
    [(0, {}), (4, {"pooling": "flatten", "units": 8, "dropout": 0.4}), (7, {"dropout": 0.2})],
)
def test_training_on_activations_is_training_the_whole_network(tmp_path: Path, unfreeze: int, options: dict[str, Any]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (60, tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8)
    whole, tail, control = trajectories(lambda: small(unfreeze, **options), pixels, tmp_path)
    np.testing.assert_allclose(tail, whole, rtol=1e-6)
    if keras.backend.backend() == "tensorflow":  # XLA may fuse the pooling with what is below the cut
        assert tail == whole
    assert not np.allclose(control, whole, rtol=1e-6)


def test_a_cut_between_a_convolution_and_its_batchnorm_changes_rounding_at_most(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (60, tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8)
    whole, tail, control = trajectories(lambda: small(3), pixels, tmp_path)
    np.testing.assert_allclose(tail, whole, rtol=1e-6)  # TensorFlow fuses the two in the whole network's graph
    assert not np.allclose(control, whole, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("sums_as_written")
@pytest.mark.parametrize("pooling", ["avg", "flatten"])
@pytest.mark.parametrize(("application", "unfreeze"), [("ResNet50", 0), ("ResNet50", 8), ("VGG16", 0), ("VGG16", 4)])
def test_training_on_activations_of_real_backbones(tmp_path: Path, application: str, unfreeze: int, pooling: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (60, 64, 64, 3), dtype=np.uint8)

    def make() -> tuple[keras.Model, list[str]]:
        image = keras.Input((64, 64, 3), dtype="uint8", name="image")
        scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="pixels")(image)
        trunk = getattr(keras.applications, application)(include_top=False, weights=None, input_tensor=scaled)
        network = head.attach(trunk, classes=3, pooling=pooling, units=16, dropout=0.4)  # type: ignore[arg-type]
        layers = tiny.layer_names(trunk)
        head.unfreeze(network, layers, unfreeze, batchnorm=True)
        return network, layers

    whole, tail, control = trajectories(make, pixels, tmp_path)
    assert tail == whole
    assert control != whole


def test_a_second_use_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny.start(tmp_path)
    paths = {"backbone": run.inputs["build"] / "backbone.keras", "images": run.inputs["ingest"] / "images.npy"}
    first = activations.feed(run.stage("train"), tiny.network(0), ["out"], **paths)
    monkeypatch.setattr(activations, "compute", None)
    second = activations.feed(run.stage("train"), tiny.network(0, pooling="flatten"), ["out"], **paths)
    assert np.array_equal(first.arrays[0], second.arrays[0])


def test_activations_that_do_not_fit_on_the_disk_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    run = tiny.start(tmp_path)
    stage = run.stage("train")
    with pytest.raises(StageError, match="are free"):
        activations.feed(
            stage,
            tiny.network(0),
            ["out"],
            backbone=run.inputs["build"] / "backbone.keras",
            images=run.inputs["ingest"] / "images.npy",
        )
    assert isinstance(stage, Stage)
