"""Stored activations: they are those of the whole network, training on them is training it, and they are computed once."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kpipe.stage import Stage, StageError
from stages import disk, train
from stages.data import manifest
from stages.data.rows import Rows
from stages.network import activations, batchnorm, cut, graph, head
from stages.network.feed import Feed
from stages.network.prefix import Images, Prefix
from stages.training.batches import Batches
from tests.stages import tiny

Network = Callable[[], tuple[keras.Model, list[str]]]
TENSORFLOW = keras.backend.backend() == "tensorflow"


def small(unfreeze: int | str, *, learns: bool = True, **options: Any) -> tuple[keras.Model, list[str]]:
    """The tiny network; without `learns` its BatchNormalization layers stay frozen in the unfrozen part too."""
    network, layers = tiny.network(unfreeze, **options), tiny.layer_names(tiny.backbone())
    head.unfreeze(network, layers, unfreeze, batchnorm=learns)  # type: ignore[arg-type]
    return network, layers


def stored(stage: Stage, network: keras.Model, layers: list[str], dtype: str = "float32") -> Feed:
    """The network's tail with its activations, through the memo of a run."""
    return activations.feed(stage, Prefix.of(stage, network, cut.place(network, layers), dtype))


@cache
def bits_hold() -> bool:
    """Whether plain Keras gives an image the same bits in a batch of any size, on this processor: with AVX-512 it does, with AVX2 a
    convolution of few images adds up in another order."""
    network, _ = small(4)
    below = keras.Model(network.input, graph.tensors(network, ["conv2", "conv3"]))
    pixels = np.random.default_rng(7).integers(0, 256, (64, tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8)
    whole = below.predict_on_batch(pixels)
    parts = [(size, below.predict_on_batch(pixels[:size])) for size in (4, 10, 20, 32)]
    return all(np.array_equal(a[:size], b) for size, part in parts for a, b in zip(whole, part, strict=True))


def same(values: np.ndarray, expected: np.ndarray) -> bool:
    """Equal to the last bit where the processor allows it, else but for rounding."""
    if bits_hold():
        return np.array_equal(values, expected)
    return np.allclose(values, expected, rtol=1e-4, atol=1e-5 * float(np.abs(expected).max()))


@pytest.mark.slow
def test_stored_activations_are_bitwise_those_of_the_whole_network(tmp_path: Path) -> None:
    network, layers = small(4)
    feed = stored(tiny.start(tmp_path).stage("train"), network, layers)
    pixels = np.load(tmp_path / "ingest" / "images.npy")
    whole = keras.Model(network.input, [*graph.tensors(network, cut.place(network, layers)), network.output])
    for start in range(0, len(pixels), 20):
        *expected, output = whole.predict_on_batch(pixels[start : start + 20])
        rows = np.arange(start, min(start + 20, len(pixels)))
        for array, values in zip(feed.take(rows), expected, strict=True):
            assert same(array, values)
        np.testing.assert_allclose(feed.predict(rows), output, atol=1e-6)


@dataclasses.dataclass
class Course:
    """Running mean of the loss after every step of plain Keras fit, and the statistics re-estimated at the end."""

    losses: list[float]
    statistics: list[np.ndarray]

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Course)
        same = len(self.statistics) == len(other.statistics) and all(map(np.array_equal, self.statistics, other.statistics))
        return same and self.losses == other.losses

    def distance(self, other: Course) -> float:
        """The largest difference of a step's loss."""
        return float(np.abs(np.subtract(self.losses, other.losses)).max())

    def near(self, other: Course, tolerance: float) -> bool:
        """Whether they are equal but for rounding."""
        pairs = zip([self.losses, *self.statistics], [other.losses, *other.statistics], strict=True)
        return all(np.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in pairs)


def course(data: Feed, rows: np.ndarray, *, recalibrates: bool) -> Course:
    """Three epochs of fit; with `recalibrates`, between epochs the statistics are re-estimated, used, and put back."""
    labels = (np.arange(len(rows) + 3) % 3).astype(np.int32)
    seen: list[float] = []
    batches = Batches(data, labels, rows, batch_size=20, seed=4)
    data.model.compile(keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(logs["loss"]))
    names = batchnorm.learning(data.model)
    mode = batchnorm.batch_mode(data.model, names) if names else None
    for epoch in range(1, 4):
        batches.start(epoch)
        data.model.fit(batches, epochs=epoch, initial_epoch=epoch - 1, shuffle=False, verbose=0, callbacks=[note])
        if mode and recalibrates:
            moving = batchnorm.current(data.model, names)
            batchnorm.assign(data.model, batchnorm.estimate(mode, data, rows, 20))
            data.predict(rows)
            batchnorm.assign(data.model, moving)
    estimated = batchnorm.estimate(mode, data, rows, 20) if mode else {}
    return Course(seen, [array for pair in estimated.values() for array in pair])


def courses(make: Network, pixels: np.ndarray, folder: Path, kinds: str = "whole tail control") -> list[Course]:
    """Training of the whole network, of its tail on stored activations (also with statistics re-estimated between epochs),
    and of its tail on activations of which one image's differ."""
    stage = Stage(inputs={"build": folder, "ingest": folder}, out=folder / "out", store=folder / "store")
    np.save(folder / "images.npy", pixels)
    (folder / "backbone.keras").write_text("whose weights are those that make() gives")
    rows = np.arange(len(pixels) - 3)  # a last batch that is uneven
    found = []
    for kind in kinds.split():
        keras.utils.set_random_seed(0)
        network, layers = make()
        data = Feed(network, (pixels,)) if kind == "whole" else stored(stage, network, layers)
        if kind == "control":
            first, *others = map(np.asarray, data.arrays)
            first[5] *= 1.01
            data = Feed(data.model, (first, *others))
        found.append(course(data, rows, recalibrates=kind == "recalibrated"))
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("sums_as_written")
@pytest.mark.parametrize(
    ("unfreeze", "options"),
    [(0, {}), (4, {"pooling": "flatten", "units": 8, "dropout": 0.4}), (4, {"learns": False})],
)
def test_training_on_activations_is_training_the_whole_network(tmp_path: Path, unfreeze: int, options: dict[str, Any]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (60, tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8)
    kinds = "whole control tail" if unfreeze == 0 else "whole control tail recalibrated"
    whole, control, *tails = courses(lambda: small(unfreeze, **options), pixels, tmp_path, kinds)
    for tail in tails:
        assert tail.near(whole, 1e-6) if bits_hold() else 10 * tail.distance(whole) < control.distance(whole)
        if TENSORFLOW and bits_hold():  # XLA may fuse the pooling with what is below the cut
            assert tail == whole
    assert not control.near(whole, 1e-6)


@pytest.mark.slow
def test_a_cut_between_a_convolution_and_its_batchnorm_changes_rounding_at_most(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (60, tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8)
    whole, tail, control = courses(lambda: small(3), pixels, tmp_path)
    near = tail.near(whole, 1e-6) if bits_hold() else 10 * tail.distance(whole) < control.distance(whole)
    assert near  # TensorFlow fuses the two in the whole network's graph
    assert not control.near(whole, 1e-6)


def real(application: str, unfreeze: int, pooling: str, *, learns: bool) -> tuple[keras.Model, list[str]]:
    """A backbone of random weights for 64 pixels, with a head."""
    image = keras.Input((64, 64, 3), dtype="uint8", name="image")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="pixels")(image)
    trunk = getattr(keras.applications, application)(include_top=False, weights=None, input_tensor=scaled)
    network = head.attach(trunk, classes=3, pooling=pooling, units=16, dropout=0.4)  # type: ignore[arg-type]
    layers = tiny.layer_names(trunk)
    head.unfreeze(network, layers, unfreeze, batchnorm=learns)
    return network, layers


@pytest.mark.slow
@pytest.mark.usefixtures("sums_as_written")
@pytest.mark.parametrize("pooling", ["avg", "flatten"])
@pytest.mark.parametrize(
    ("application", "unfreeze", "learns"),
    [
        ("ResNet50", 0, False),
        ("ResNet50", 8, False),  # batchnorm = "frozen"
        ("ResNet50", 8, True),  # "train", and "recalibrate"
        ("ResNet50", 17, False),
        ("ResNet50", 17, True),
        ("VGG16", 0, False),
        ("VGG16", 4, False),
    ],
)
def test_training_on_activations_of_real_backbones(
    tmp_path: Path, application: str, unfreeze: int, learns: bool, pooling: str
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (60, 64, 64, 3), dtype=np.uint8)
    kinds = "whole control tail recalibrated" if learns else "whole control tail"
    whole, control, *tails = courses(lambda: real(application, unfreeze, pooling, learns=learns), pixels, tmp_path, kinds)
    assert bool(whole.statistics) == learns
    if bits_hold():
        assert tails == [whole] * len(tails)
        assert control != whole
    else:  # rounding grows from step to step in real networks: the first one, from equal weights, must agree
        assert all(np.isclose(tail.losses[0], whole.losses[0], rtol=1e-4) for tail in tails)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("application", "unfreeze"), [("ResNet50", 0), ("ResNet50", 8), ("ResNet50", 17), ("VGG16", 0), ("VGG16", 4)]
)
def test_stored_activations_of_real_backbones_are_bitwise_those_of_the_whole_network(
    tmp_path: Path, application: str, unfreeze: int
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (90, 64, 64, 3), dtype=np.uint8)
    network, layers = real(application, unfreeze, "avg", learns=True)
    found = cut.place(network, layers)
    np.save(tmp_path / "images.npy", pixels)
    (tmp_path / "backbone.keras").touch()
    stage = Stage(inputs={"build": tmp_path, "ingest": tmp_path}, out=tmp_path / "out", store=tmp_path / "store")
    prefix = Prefix(network, found, tmp_path / "backbone.keras", tmp_path / "images.npy", "float32")
    arrays = activations.stored(stage, prefix, Images.all(prefix.images))[0]
    whole = keras.Model(network.input, [*graph.tensors(network, found), network.output])
    for start in range(0, 90, 20):
        *expected, _ = whole.predict_on_batch(pixels[start : start + 20])
        rows = np.arange(start, min(start + 20, 90))
        for array, values in zip(arrays, expected, strict=True):
            assert same(array[rows], values)
            assert not same(array[rows] * np.float32(1.001), values)  # the control


FIRST: dict[str, Any] = {"epochs": 1, "units": 4}
OTHERS: dict[str, Any] = {
    "pooling": "flatten", "units": 8, "dropout": 0.5, "learning_rate": 0.1, "epochs": 2, "batch_size": 7, "optimizer": "sgd",
    "class_weights": "balanced", "label_smoothing": 0.1, "early_stopping": 1, "seed": 5, "batchnorm": "frozen",
}  # fmt: skip


@pytest.fixture
def no_images_below(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, no image may go through the frozen layers."""

    def refuse(images: Images, view: int) -> None:
        raise AssertionError("activations were computed again")

    return lambda: monkeypatch.setattr(Images, "pixels", refuse)


def split_otherwise(ingest: Path) -> None:
    """As another fold or another seed of the split: the same images in other roles."""
    items = manifest.read(ingest / "manifest.csv")
    splits = [item.split for item in items]
    manifest.write(
        ingest / "manifest.csv", [dataclasses.replace(i, split=s) for i, s in zip(items, splits[30:] + splits[:30], strict=True)]
    )


@pytest.mark.slow
def test_another_head_and_another_way_to_train_it_compute_no_activations(
    tmp_path: Path, no_images_below: Callable[[], None]
) -> None:
    run = tiny.start(tmp_path)
    train.run(run.stage("train"), **FIRST)
    no_images_below()
    split_otherwise(run.inputs["ingest"])
    train.run(run.stage("train"), **OTHERS)
    with pytest.raises(AssertionError, match="computed again"):
        train.run(run.stage("train"), **FIRST, unfreeze=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OTHERS, "split"])
def test_each_setting_alone_computes_no_activations(tmp_path: Path, no_images_below: Callable[[], None], name: str) -> None:
    run = tiny.start(tmp_path)
    train.run(run.stage("train"), **FIRST)
    no_images_below()
    if name == "split":
        split_otherwise(run.inputs["ingest"])
    train.run(run.stage("train"), **{**FIRST, **{key: value for key, value in OTHERS.items() if key == name}})


@pytest.mark.parametrize("changed", ["images", "weights"])
def test_other_images_or_weights_have_activations_of_their_own(
    tmp_path: Path, no_images_below: Callable[[], None], changed: str
) -> None:
    run = tiny.start(tmp_path)
    network, layers = small(0, pooling="flatten")
    stored(run.stage("train"), network, layers)
    if changed == "images":
        pixels = np.load(run.inputs["ingest"] / "images.npy")
        np.save(run.inputs["ingest"] / "images.npy", pixels[::-1])
    else:
        network.save(run.inputs["build"] / "backbone.keras")
    no_images_below()
    with pytest.raises(AssertionError, match="computed again"):
        stored(run.stage("train"), network, layers)


@pytest.mark.slow
def test_pooled_activations_follow_from_those_that_all_heads_share(tmp_path: Path, no_images_below: Callable[[], None]) -> None:
    run = tiny.start(tmp_path)
    flat = stored(run.stage("train"), *small(0, pooling="flatten"))
    no_images_below()
    pooled = stored(run.stage("train"), *small(0, pooling="avg"))
    assert (flat.arrays[0].shape, pooled.arrays[0].shape) == ((90, 10, 10, 8), (90, 8))  # type: ignore[attr-defined]
    np.testing.assert_allclose(np.asarray(pooled.arrays[0]), np.asarray(flat.arrays[0]).mean(axis=(1, 2)), atol=1e-6)


@pytest.mark.slow
def test_what_was_committed_before_a_crash_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny.start(tmp_path, images=300)
    network, layers = small(0, pooling="flatten")
    whole = stored(run.stage("train"), network, layers)
    run = tiny.start(tmp_path / "again", images=300)
    monkeypatch.setattr(activations, "PART", 64 * 10 * 10 * 8 * 4)  # one batch
    honest, rows = activations.compute, []

    def crash_in_the_third(below: Feed, prefix: Prefix, some: np.ndarray, *rest: Any) -> None:
        rows.append(some)
        if len(rows) == 3:
            raise KeyboardInterrupt
        honest(below, prefix, some, *rest)

    monkeypatch.setattr(activations, "compute", crash_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        stored(run.stage("train"), network, layers)
    again = stored(run.stage("train"), network, layers)
    assert [len(some) for some in rows] == [64, 64, 64, 64, 64, 44] and rows[3][0] == 128
    assert np.array_equal(np.asarray(again.arrays[0]), np.asarray(whole.arrays[0]))


@pytest.mark.slow
def test_damaged_activations_are_set_aside_and_computed_again(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    before = np.asarray(stored(run.stage("train"), *small(0, pooling="flatten")).arrays[0])
    (file,) = (tmp_path / "store").rglob("out.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)
    stage = run.stage("train")
    assert np.array_equal(np.asarray(stored(stage, *small(0, pooling="flatten")).arrays[0]), before)
    assert "damaged" in stage.notices[0]


@pytest.mark.slow
def test_activations_that_do_not_fit_on_the_disk_are_refused_before_any_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_images_below: Callable[[], None]
) -> None:
    needed = 90 * 10 * 10 * 8 * 4
    free = lambda number: lambda path: type("Usage", (), {"free": number})()  # noqa: E731
    no_images_below()
    for dtype, enough in (("float32", needed), ("float16", needed // 2)):
        stage = tiny.start(tmp_path / dtype).stage("train")
        monkeypatch.setattr(disk.shutil, "disk_usage", free(enough - 1))
        with pytest.raises(StageError, match=f"activations of 90 images take {disk.size(enough)}") as caught:
            stored(stage, *small(0, pooling="flatten"), dtype)
        assert "float16" in (caught.value.hint or "") and "off" in (caught.value.hint or "")
        monkeypatch.setattr(disk.shutil, "disk_usage", free(enough))
        with pytest.raises(AssertionError, match="computed again"):
            stored(stage, *small(0, pooling="flatten"), dtype)


def test_reading_activations_leaves_no_pages_of_them_in_memory(tmp_path: Path) -> None:
    feed = stored(tiny.start(tmp_path).stage("train"), *small(4))
    assert all(isinstance(array, Rows) for array in feed.arrays)
    feed.take(np.arange(90))
    assert not [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]


SECOND = """
import sys, time
from pathlib import Path
from stages.network import activations, cut
from tests.stages import tiny
from tests.stages.test_activations import small, stored

folder, name, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
run = tiny.Run(folder, {name: folder / name for name in ("ingest", "preprocess", "build")})
network, layers = small(0, pooling="flatten")
honest = activations.compute

def slowly(*arguments):
    (folder / f"{name} computes").touch()
    until(folder / f"{other} asks")
    time.sleep(0.5)  # time to get at the same activations, if nothing held it up
    honest(*arguments)

def until(path):
    end = time.time() + 300
    while not path.exists() and time.time() < end:
        time.sleep(0.02)

activations.compute = slowly
if name == "second":
    until(folder / "first computes")
(folder / f"{name} asks").touch()
stage = run.stage(name)
stored(stage, network, layers)
print(sum(part["images"] for part in stage.measures.get("prefix_computed", [])))
"""


@pytest.mark.slow
def test_second_of_two_at_once_waits_for_the_first_and_computes_nothing(tmp_path: Path) -> None:
    tiny.start(tmp_path)
    command, environment = [sys.executable, "-c", SECOND, str(tmp_path)], {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    started = [
        subprocess.Popen([*command, *names], env=environment, stdout=subprocess.PIPE, text=True)
        for names in (("first", "second"), ("second", "first"))
    ]
    assert [process.communicate()[0].split()[-1] for process in started] == ["90", "0"]
