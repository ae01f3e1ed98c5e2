"""Doctor on networks that another program trained: flat, nested, sequential; with a fault or without."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kpipe.stage import Branch, Stage, StageError
from stages.diagnosis import folder, foreign_scale, input_scale, output_layer, overfitting, scaled_before, units
from stages.diagnosis.finding import Finding
from stages.diagnosis.foreign import Foreign, as_probabilities
from stages.diagnosis.input_scale import Sample
from stages.diagnosis.patient import Patient
from stages.diagnosis.scaled_before import FIRST, Trial, knowledge
from stages.diagnosis.seen import Split
from stages.network import keras_files
from stages.pixels import CONTRACTS, apply
from stages.tools import doctor
from tests.stages.fake_artifacts import Data, Run, branches

SIZE = 16
CLASSES = ("blue", "red")
COUNTS = {"train": 60, "validation": 40}


def picture(label: int, number: int) -> NDArray[np.uint8]:
    """Noise that is redder or bluer, by class."""
    noise = np.random.default_rng([label, number]).integers(0, 140, (SIZE, SIZE, 3))
    noise[..., 0 if label else 2] += 70
    return noise.astype(np.uint8)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for split, count in COUNTS.items():
        for label, name in enumerate(CLASSES):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for i in range(count // 2):
                Image.fromarray(picture(label, i + 1000 * (split == "train"))).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def images(split: str) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    count = COUNTS[split] // 2
    shown = [picture(label, i + 1000 * (split == "train")) for label in (0, 1) for i in range(count)]
    return np.stack(shown), np.repeat([0, 1], count).astype(np.int32)


def layers(unit: bool, units: int = 2, padded: bool = False) -> list[keras.layers.Layer]:
    return [
        keras.layers.Rescaling(1 / 255 if unit else 1.0, name="rescaling"),
        *([keras.layers.ZeroPadding2D(1, name="padding")] if padded else []),
        keras.layers.Conv2D(8, 3, name="conv"),
        keras.layers.BatchNormalization(name="bn"),
        keras.layers.ReLU(name="relu"),
        keras.layers.GlobalAveragePooling2D(name="pool"),
        keras.layers.Dense(units, activation="softmax" if units > 1 else "sigmoid", name="head"),
    ]


KINDS = ["flat", "padded", "sequential", "nested", "scaled before", "augmented before", "deep"]


def network(kind: str, unit: bool = True, units: int = 2) -> keras.Model:
    """The same layers as a functional model, as a Sequential, or with all but the head, and what may stand before it, in a
    model of their own, as one does with a published backbone."""
    keras.utils.set_random_seed(3)
    own, image = layers(unit, units, padded=kind == "padded"), keras.Input((SIZE, SIZE, 3))
    if kind == "sequential":
        return keras.Sequential([image, *own])
    values = image
    first = 1 if kind == "scaled before" else 0
    for layer in own if kind in ("flat", "padded") else own[first:-1]:
        values = layer(values)
    if kind in ("flat", "padded"):
        return keras.Model(image, values)
    outer = given = keras.Input((SIZE, SIZE, 3))
    if kind == "scaled before":
        given = own[0](keras.ops.flip(keras.ops.flip(outer, axis=-1), axis=-1))
    if kind == "augmented before":
        given = keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomRotation(0.1)])(outer)
    backbone = keras.Model(image, values, name="backbone")
    if kind == "deep":
        between = keras.Input((SIZE, SIZE, 3))
        backbone = keras.Model(between, backbone(keras.layers.Rescaling(1.0, name="once")(between)))
    return keras.Model(outer, own[-1](backbone(given)))


def trained(kind: str = "flat", **how: Any) -> keras.Model:
    """A network that tells the classes apart, its statistics re-estimated."""
    model = network(kind, **how)
    shown, labels = images("train")
    loss = "binary_crossentropy" if how.get("units") == 1 else "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(0.03), loss=loss)
    model.fit(shown.astype("float32"), labels, batch_size=20, epochs=25, verbose=0)
    remember(model, shown)
    return model


def remember(model: keras.Model, shown: NDArray[Any]) -> None:
    """Give the BatchNormalization the statistics of what it sees of these images."""
    network = Foreign(model)
    entering = keras.Model(network.whole.inputs, network.entering).predict(shown.astype("float32"), verbose=0)
    batchnorm_of(model).moving_mean.assign(entering.mean((0, 1, 2)))
    batchnorm_of(model).moving_variance.assign(entering.var((0, 1, 2)))


def batchnorm_of(model: keras.Model) -> keras.layers.BatchNormalization:
    return Foreign(model).batchnorms[0]


def examined(tmp_path: Path, model: keras.Model, data: Path, history: Path | None = None) -> tuple[list[dict[str, Any]], Stage]:
    tmp_path.mkdir(exist_ok=True)
    model.save(tmp_path / "model.keras")
    stage = Stage(out=tmp_path / "out", store=tmp_path / "store")
    doctor.run(stage, model=str(tmp_path / "model.keras"), data=str(data), history=str(history or ""))
    return json.loads((stage.out / "findings.json").read_text()), stage


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "sequential", "nested"])
def test_a_healthy_network_has_no_findings(tmp_path: Path, pictures: Path, kind: str) -> None:
    found, stage = examined(tmp_path, trained(kind), pictures)
    assert found == [] and stage.notices == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_taken_apart_computes_the_same(kind: str) -> None:
    model, (shown, _) = network(kind), images("validation")
    whole = Foreign(model).whole
    assert [type(layer).__name__ for layer in whole.layers].count("Conv2D") == 1
    values = shown.astype("float32")
    np.testing.assert_allclose(whole.predict(values, verbose=0), model.predict(values, verbose=0), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "nested"])
def test_statistics_that_do_not_describe_the_images(tmp_path: Path, pictures: Path, kind: str) -> None:
    model = trained(kind)
    layer = batchnorm_of(model)
    layer.moving_mean.assign(np.asarray(layer.moving_mean) + 20 * np.sqrt(np.asarray(layer.moving_variance)))
    found, _ = examined(tmp_path, model, pictures)
    assert [finding["rule"] for finding in found] == ["batchnorm-gap"]
    assert found[0]["effect"]["with_fix"] > found[0]["effect"]["as_configured"] + 0.3
    assert "training=False" in found[0]["fix"]


@pytest.mark.parametrize("kind", ["nested", "padded"])
def test_pixels_that_the_first_layers_were_not_made_for(tmp_path: Path, pictures: Path, kind: str) -> None:
    model = network(kind, unit=True)
    for layer in Foreign(model).batchnorms:
        layer.trainable = False  # as in a backbone that is frozen
    scaled = network("padded" if kind == "padded" else "flat", unit=False)
    remember(scaled, apply(CONTRACTS["caffe"], images("train")[0]))
    for name in ("moving_mean", "moving_variance"):
        getattr(batchnorm_of(model), name).assign(getattr(batchnorm_of(scaled), name))
    found, _ = examined(tmp_path, model, pictures)
    (scale,) = [finding for finding in found if finding["rule"] == "input-scale"]
    assert "preprocess_input" in scale["fix"]
    assert scale["evidence"]["range"][1] <= 1 and scale["evidence"]["range_expected"][0] < -50


@pytest.mark.slow
def test_pixels_that_are_scaled_before_the_network_are_inferred_and_said(tmp_path: Path) -> None:
    shown, labels = images("train")
    shown = (shown * np.where(labels, 1.0, 0.4)[:, None, None, None]).astype(np.uint8)  # the classes differ in brightness
    for number, (picture_, label) in enumerate(zip(shown, labels, strict=True)):
        folder = tmp_path / "pictures" / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture_).save(folder / f"{number}.png")
    model = network("flat", unit=False)
    model.compile(keras.optimizers.Adam(0.03), loss="sparse_categorical_crossentropy")
    model.fit(shown / np.float32(255), labels, batch_size=20, epochs=40, verbose=0)
    remember(model, shown / np.float32(255))
    found, stage = examined(tmp_path, model, tmp_path / "pictures")
    assert found == []
    assert len(stage.notices) == 2 and 'scaled as "unit"' in stage.notices[1] and "no validation folder" in stage.notices[0]


def test_what_a_network_knows_of_many_classes_is_more_than_a_fit_of_their_names() -> None:
    rng, labels = np.random.default_rng(0), (np.arange(128) % 100).astype(np.int32)

    def split(right: float, by: int = 0) -> Split:
        called = np.where(rng.random(128) < right, (labels + by) % 100, rng.integers(0, 100, 128))
        return Split((0.9 * np.eye(100)[called] + 0.001).astype(np.float32), labels)

    assert knowledge(split(0.0), 100).accuracy < 0.1
    half = knowledge(split(0.5), 100)
    assert half.accuracy > 0.4 and half.luck < 1e-6
    other = knowledge(split(0.9, by=1), 100)  # all of them under the next one's name
    assert other.accuracy > 0.8 and other.probability > 0.7 and other.luck < 1e-3


@pytest.mark.parametrize("right", ["none", "unit", "caffe"])
def test_ways_to_scale_pixels_that_are_clearly_worse_are_tried_on_few_images(right: str, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, asked = (np.arange(128) % 4).astype(np.int32), dict.fromkeys(CONTRACTS, 0)
    trial = Trial(None, np.empty((128, 1, 1, 3), np.uint8), labels, classes=4)  # type: ignore[arg-type]

    def predicted(self: Trial, name: str, rows: slice = slice(None)) -> NDArray[np.float32]:
        hit = np.random.default_rng(0).random(128) < (0.75 if name == right else 0.25)
        called = np.where(hit, labels, (labels + 1 + np.arange(128) // 4 % 3) % 4)[rows]
        asked[name] += len(called)
        return (0.8 * np.eye(4)[called] + 0.05).astype(np.float32)

    monkeypatch.setattr(Trial, "predicted", predicted)
    known = trial.worth(trial.predicted("none"))
    assert max(known, key=lambda name: known[name].probability) == right
    assert asked == {name: 128 if name in (right, "none") else FIRST for name in CONTRACTS}
    monkeypatch.setattr(scaled_before, "CLEARLY", np.inf)
    everything = trial.worth(trial.predicted("none"))
    assert list(everything["none"].own) == list(known["none"].own) and everything[right].accuracy == known[right].accuracy > 0.6
    assert len(everything) == len(CONTRACTS)


@pytest.mark.slow
def test_pixels_scaled_before_a_network_that_is_often_wrong_and_always_sure(tmp_path: Path) -> None:
    """A loss would prefer the pixels of which it is unsure."""
    rng = np.random.default_rng(1)
    for number in range(240):
        label = number % 2
        folder = tmp_path / "pictures" / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        seen = label if rng.random() < 0.75 else 1 - label
        Image.fromarray(np.clip(rng.normal(85 + 60 * seen, 5, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)).save(
            folder / f"{number}.png"
        )
    flat = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Conv2D(1, 1),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    convolution, _, head = flat.layers
    convolution.set_weights([np.full((1, 1, 3, 1), 1 / 3), np.zeros(1)])
    head.set_weights([np.array([[-5.0, 5.0]]), np.zeros(2)])
    _, stage = examined(tmp_path, flat, tmp_path / "pictures")
    assert any('scaled as "caffe"' in said for said in stage.notices), stage.notices


@pytest.mark.slow
def test_classes_in_another_order(tmp_path: Path, pictures: Path) -> None:
    model = trained()
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel[:, ::-1], bias[::-1]])
    found, _ = examined(tmp_path, model, pictures)
    assert [finding["rule"] for finding in found] == ["labels-misaligned"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["same pixels", "encoded anew", "resized", "mirrored"])
def test_images_in_both_splits(tmp_path: Path, pictures: Path, kind: str) -> None:
    for i in range(10):
        path, again = pictures / "train" / "red" / f"{i}.png", pictures / "validation" / "red" / f"again{i}.png"
        image = Image.open(path)
        if kind == "encoded anew":
            image.save(again.with_suffix(".jpg"), quality=95)
        elif kind == "resized":
            image = image.resize((4, 4)).resize((SIZE, SIZE))  # structure that outlives resizing, as that of photographs does
            image.save(path)
            image.resize((48, 48)).save(again)
        elif kind == "mirrored":
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(again)
        else:
            image.save(again)
    [found] = examined(tmp_path, trained(), pictures)[0]
    assert found["rule"] == "leakage" and found["evidence"]["validation_leaked"] == 10 and len(found["evidence"]["copies"]) == 5
    for path, copied in (pair.split(" = ") for pair in found["evidence"]["copies"]):
        assert Path(path).stem == "again" + Path(copied).stem and copied.startswith("train/red/")


def test_copies_that_no_folder_tells_apart_are_not_torn_apart(tmp_path: Path, pictures: Path) -> None:
    """Where the folder has no validation split, what stands for it holds no copies of the rest."""
    shutil.rmtree(pictures / "validation")
    for path in list((pictures / "train").glob("*/*.png")):
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path.with_name(f"m{path.name}"))
    read = folder.read(Stage(out=tmp_path / "out", store=tmp_path / "store"), pictures / "train", (SIZE, SIZE))
    assert len(read.validation.items) > 20 and read.leaked == {}


def test_a_class_of_near_copies_is_looked_at_all_the_same(tmp_path: Path, pictures: Path) -> None:
    """Frames of a camera that stands still: what stands for validation has copies in training, which is no fault of the folders."""
    shutil.rmtree(pictures / "validation")
    for path in list((pictures / "train" / "red").iterdir())[1:]:
        path.unlink()
    [left] = (pictures / "train" / "red").iterdir()
    Image.open(left).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(left.with_name("again.png"))
    stage = Stage(out=tmp_path / "out", store=tmp_path / "store")
    read = folder.read(stage, pictures / "train", (SIZE, SIZE))
    assert read.leaked == {} and len(read.validation.items) > 1
    assert any("near copies" in said for said in stage.notices)


@pytest.mark.slow
@pytest.mark.parametrize("first", [0.3, 0.65])
def test_history_of_a_network_that_learned_its_images_by_heart(tmp_path: Path, pictures: Path, first: float) -> None:
    model, history = trained(), tmp_path / "history.csv"
    model.layers[-1].set_weights([np.zeros((8, 2)), np.zeros(2)])  # validation is right by half, its loss is ln 2
    rows = [f"{e},{0.5 + e / 10},{1 / (e + 1)},0.5,{first + 0.1 * e}" for e in range(6)]
    history.write_text("\n".join(["epoch,acc,loss,val_acc,val_loss", *rows]))
    found, _ = examined(tmp_path, model, pictures, history)
    told = {finding["rule"]: finding for finding in found}
    assert told["overfitting"]["evidence"]["best_epoch"] == 1
    if first == 0.3:
        assert told["overfitting"]["severity"] == "warning" and "EarlyStopping" in told["overfitting"]["fix"]
    else:  # the network is that of the best epoch already
        assert (told["overfitting"]["severity"], told["overfitting"]["fix"]) == ("note", None)


@pytest.mark.slow
def test_one_output_and_scores_are_read_as_probabilities(tmp_path: Path, pictures: Path) -> None:
    found, _ = examined(tmp_path, trained(units=1), pictures)
    assert found == []
    np.testing.assert_allclose(as_probabilities(np.array([[0.2]], np.float32)), [[0.8, 0.2]])
    np.testing.assert_allclose(as_probabilities(np.array([[0.0, 0.0], [2.0, 0.0]], np.float32))[0], [0.5, 0.5])
    np.testing.assert_allclose(as_probabilities(np.array([[0.9, 0.3], [0.2, 0.6]], np.float32)), [[0.75, 0.25], [0.25, 0.75]])
    np.testing.assert_allclose(as_probabilities(np.array([[0.9, 0.3], [0.0, 0.0]], np.float32))[1], [0.5, 0.5])
    np.testing.assert_allclose(as_probabilities(np.array([[3.0]], np.float32))[0, 1], 1 / (1 + np.exp(-3)), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": "missing"}, "no such folder"),
        ({"model": "missing.keras"}, "no such file"),
        ({"model": "notes.txt"}, "cannot be read as a Keras model"),
        ({"history": "notes.txt"}, "has no column loss"),
        ({"history": "missing.csv"}, "missing.csv"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, pictures: Path, change: dict[str, str], says: str) -> None:
    network("flat").save(tmp_path / "model.keras")
    (tmp_path / "notes.txt").write_text("loss is high\n1")
    given = {"model": "model.keras", "data": "pictures"} | change
    with pytest.raises(StageError, match=says):
        doctor.run(Stage(out=tmp_path / "out"), **{name: str(tmp_path / path) for name, path in given.items()})


def test_networks_that_are_no_graph_are_refused(tmp_path: Path, pictures: Path) -> None:
    keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    with pytest.raises(StageError, match="is no graph of layers"):
        doctor.run(Stage(out=tmp_path / "out"), model=str(tmp_path / "model.keras"), data=str(pictures))


def test_an_error_without_a_text_is_told_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.keras").write_text("")

    def fail(*_: Any, **__: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(keras.models, "load_model", fail)
    with pytest.raises(StageError, match="NotImplementedError"):
        doctor.read_network(tmp_path / "model.keras")


def named_alike() -> keras.Model:
    """A front and a backbone whose layers were named in two programs."""
    image = keras.Input((SIZE, SIZE, 3))
    front = keras.Model(image, keras.layers.BatchNormalization(name="bn", trainable=False)(image), name="front")
    again = keras.Input((SIZE, SIZE, 3))
    values = again
    for layer in layers(unit=True)[:-1]:
        values = layer(values)
    outer = keras.Input((SIZE, SIZE, 3))
    return keras.Model(outer, keras.layers.Dense(2, name="conv")(keras.Model(again, values, name="back")(front(outer))))


def shared() -> keras.Model:
    """One BatchNormalization at two places."""
    image, bn = keras.Input((SIZE, SIZE, 3)), keras.layers.BatchNormalization()
    return keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(bn(keras.layers.Conv2D(3, 3)(bn(image))))))


def named_outputs() -> keras.Model:
    model = network("nested")
    return keras.Model(model.inputs, {"classes": model.outputs[0]})


@pytest.mark.parametrize(("model", "learning"), [(named_alike, 1), (shared, 0), (named_outputs, 1)])
def test_graphs_that_keras_would_not_make_one_of(model: Any, learning: int) -> None:
    built, (shown, labels) = model(), images("validation")
    values = shown.astype("float32")
    foreign = Foreign(built)
    expected = keras.tree.flatten(built.predict(values, verbose=0))[0]
    np.testing.assert_allclose(foreign.whole.predict(values, verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert len(foreign.learning()) == learning
    if learning:
        mode = foreign.in_batch_mode()
        assert len(mode.names) == learning and mode.output.predict(values, verbose=0).shape == (len(labels), 2)


@pytest.mark.parametrize(
    "relu",
    [
        lambda: keras.layers.ReLU(),
        lambda: keras.layers.ReLU(max_value=6.0),
        lambda: keras.layers.Activation("relu6"),
        lambda: keras.layers.Activation("relu"),
    ],
)
def test_dead_units_are_seen_behind_every_kind_of_relu(tmp_path: Path, pictures: Path, relu: Any) -> None:
    model = layered(keras.layers.Conv2D(4, 3, bias_initializer=keras.initializers.Constant(-1e6)), relu(), keras.layers.Flatten())
    found, _ = examined(tmp_path, model, pictures)
    assert [finding["rule"] for finding in found] == ["dead-units"]


def test_units_that_pass_something_below_their_threshold_are_no_dead_ones() -> None:
    assert not any(map(units.rectifies, (keras.layers.ReLU(negative_slope=0.1), keras.layers.ReLU(threshold=1.0))))
    assert not any(map(units.rectifies, (keras.layers.Activation("gelu"), keras.layers.LeakyReLU(), keras.layers.Flatten())))


@pytest.mark.parametrize("steps", [20, 70, 160])
def test_statistics_that_lag_behind_are_not_taken_for_those_of_other_pixels(steps: int) -> None:
    model, (shown, labels), left = network("flat"), images("train"), 0.99**steps
    remember(model, shown)
    layer = batchnorm_of(model)
    layer.moving_mean.assign((1 - left) * np.asarray(layer.moving_mean))
    layer.moving_variance.assign(left + (1 - left) * np.asarray(layer.moving_variance))
    assert foreign_scale.find(Foreign(model), Sample(shown, labels), shown, 0.5) is None


@pytest.mark.slow
def test_what_is_measured_leaves_the_network_as_it_was(tmp_path: Path, pictures: Path) -> None:
    model = trained()
    layer = batchnorm_of(model)
    layer.moving_mean.assign(np.asarray(layer.moving_mean) + 20 * np.sqrt(np.asarray(layer.moving_variance)))
    stage, network = Stage(out=tmp_path / "out", store=tmp_path / "store"), Foreign(model)
    patient = Patient.of(stage, network, folder.read(stage, pictures, (SIZE, SIZE)))
    before = [np.array(weight) for weight in model.get_weights()]
    assert patient.recalibrated() > patient.splits["validation"].accuracy + 0.3
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_losses_with_a_penalty_are_said_not_to_be_judged(tmp_path: Path, pictures: Path) -> None:
    history = tmp_path / "history.csv"
    history.write_text("epoch,accuracy,loss\n" + "".join(f"{e},0.9,{60 - e}\n" for e in range(8)))
    regularizer = keras.regularizers.L2(1.0)
    model = layered(keras.layers.Conv2D(4, 3, kernel_regularizer=regularizer), keras.layers.GlobalAveragePooling2D())
    found, stage = examined(tmp_path, model, pictures, history)
    assert "learning-rate-high" not in {finding["rule"] for finding in found}
    assert any("a penalty on the weights" in notice for notice in stage.notices)


def test_a_network_for_other_classes_is_refused(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(StageError, match="tells 3 classes apart, the folder has 2"):
        examined(tmp_path, network("flat", units=3), pictures)


def layered(*layers: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *layers, keras.layers.Dense(2, activation="softmax")])


@pytest.mark.parametrize(
    "model",
    [
        lambda: layered(keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.BatchNormalization()),
        lambda: layered(keras.layers.BatchNormalization(), keras.layers.Conv2D(4, 3), keras.layers.GlobalMaxPooling2D()),
        lambda: layered(keras.layers.SeparableConv2D(8, 3), keras.layers.Conv2D(8, 3), keras.layers.GlobalMaxPooling2D()),
        lambda: layered(keras.layers.Flatten(), keras.layers.Dense(4, activation="relu")),
    ],
)
def test_networks_of_other_shapes_are_read(tmp_path: Path, pictures: Path, model: Any) -> None:
    examined(tmp_path, model(), pictures)


@pytest.mark.slow
def test_an_untrained_network_is_not_said_to_know_anything(tmp_path: Path, pictures: Path) -> None:
    for seed in range(4):
        keras.utils.set_random_seed(seed)
        first = (keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D())
        found, stage = examined(tmp_path / str(seed), layered(*first), pictures)
        assert stage.notices == [] and "labels-misaligned" not in {finding["rule"] for finding in found}


@pytest.mark.slow
def test_broken_weights_and_several_outputs_are_refused(tmp_path: Path, pictures: Path) -> None:
    model = trained()
    model.layers[-1].set_weights([np.full((8, 2), np.nan), np.zeros(2)])
    with pytest.raises(StageError, match="no finite numbers"):
        examined(tmp_path, model, pictures)
    with pytest.raises(StageError, match="has 2 outputs"):
        examined(tmp_path, keras.Model(model.inputs, [model.outputs[0], model.outputs[0] * 2]), pictures)


def gratings(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Stripes of two directions: what tells them apart is no brightness."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 2).astype(np.int32)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    place = np.where(labels[:, None, None], rows, columns) * rng.uniform(0.7, 1.2, (count, 1, 1)) + rng.uniform(
        0, 6, (count, 1, 1)
    )
    waves = rng.normal(120, 20, (count, 1, 1, 3)) + 50 * np.sin(place)[..., None] + rng.normal(0, 20, (count, SIZE, SIZE, 3))
    return np.clip(waves, 0, 255).astype(np.uint8), labels


def write_gratings(folder: Path, **counts: int) -> Path:
    for number, (split, count) in enumerate(counts.items()):
        for i, (shown, label) in enumerate(zip(*gratings(count, number), strict=True)):
            place = folder / split / CLASSES[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(shown).save(place / f"{i:03}.png")
    return folder


def fitted(first: list[keras.layers.Layer], contract: str, epochs: int = 12) -> keras.Model:
    """A small network from scratch, as a script trains it on the gratings with pixels scaled before it."""
    keras.utils.set_random_seed(5)
    convolutions = [
        layer
        for width in (8, 16)
        for layer in (
            keras.layers.Conv2D(width, 3, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.8),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
        )
    ]
    model = layered(*first, *convolutions, keras.layers.GlobalAveragePooling2D())
    shown, labels = gratings(240, 0)
    model.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(apply(CONTRACTS[contract], shown), labels, batch_size=20, epochs=epochs, verbose=0)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("contract", CONTRACTS)
def test_pixels_scaled_before_a_network_from_scratch_are_those_that_its_first_batchnorm_remembers(
    tmp_path: Path, contract: str
) -> None:
    data = write_gratings(tmp_path / "gratings", train=240, validation=100)
    found, stage = examined(tmp_path, fitted([], contract), data)
    assert [finding["rule"] for finding in found if finding["severity"] != "note" or finding["rule"] == "input-scale"] == []
    said = [notice for notice in stage.notices if "scaled as" in notice]
    assert len(said) == (contract != "none") and all(f'scaled as "{contract}"' in notice for notice in said)


@pytest.mark.slow
def test_a_network_that_standardises_its_pixels_by_itself_was_made_for_these(tmp_path: Path) -> None:
    standardise = keras.layers.Normalization()
    standardise.adapt(gratings(240, 0)[0])
    data = write_gratings(tmp_path / "gratings", train=240, validation=100)
    for first in (standardise, keras.layers.BatchNormalization(momentum=0.8)):
        found, stage = examined(tmp_path, fitted([first], "none"), data)
        assert "input-scale" not in {finding["rule"] for finding in found} and stage.notices == []


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_pixels_of_sixteen_bits_are_the_same_pixels(dtype: str) -> None:
    shown = gratings(64, 0)[0]
    for name in ("unit", "caffe"):
        pixels = apply(CONTRACTS[name], shown)
        lower = keras.ops.convert_to_numpy(keras.ops.cast(pixels, dtype))
        assert input_scale.mismatch(lower, pixels) < 0.01
    assert input_scale.mismatch(lower, apply(CONTRACTS["unit"], shown)) > input_scale.TOLERANCE


@pytest.mark.slow
def test_a_script_that_prepares_validation_in_another_way_is_found_by_its_own_history(tmp_path: Path) -> None:
    """The famous symptom: /255 twice for validation alone."""
    data = write_gratings(tmp_path / "gratings", train=240, validation=100)
    history = tmp_path / "history.csv"
    rows = [f"{epoch},0.99,0.05,{0.5 + 0.01 * epoch},2.5" for epoch in range(6)]
    history.write_text("\n".join(["epoch,accuracy,loss,val_accuracy,val_loss", *rows]))
    model = fitted([keras.layers.Rescaling(1 / 255)], "none")
    found, _ = examined(tmp_path, model, data, history)
    [skew] = [finding for finding in found if finding["severity"] == "error"]
    assert skew["rule"] == "validation-skew" and skew["effect"]["as_configured"] == 0.55 and skew["effect"]["with_fix"] > 0.9
    history.write_text(history.read_text().replace("0.55,2.5", "0.95,0.2"))
    assert "validation-skew" not in {finding["rule"] for finding in examined(tmp_path, model, data, history)[0]}


def test_test_images_stand_for_validation_and_other_folders_are_left_out(tmp_path: Path) -> None:
    data = write_gratings(tmp_path / "gratings", train=20, test=12)
    stage = Stage(out=tmp_path / "out", store=tmp_path / "store")
    found = folder.read(stage, data, (SIZE, SIZE))
    assert found.own_split and len(found.validation.labels) == 12
    assert stage.notices == ["gratings has no validation folder: its test images stand for it"]
    write_gratings(data, val=8)
    shutil.rmtree(data / "test" / CLASSES[0])  # a test folder without labels, and one of something else
    (data / "models").mkdir()
    stage = Stage(out=tmp_path / "more", store=tmp_path / "store")
    found = folder.read(stage, data, (SIZE, SIZE))
    assert len(found.validation.labels) == 8 and stage.notices == ["left out in gratings: models/, test/"]


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        ("mse", "mse"),
        (keras.losses.BinaryCrossentropy(), "binary_crossentropy"),
        (keras.losses.categorical_crossentropy, "categorical_crossentropy"),
        (None, None),
    ],
)
def test_the_loss_that_a_network_was_trained_with_is_read(tmp_path: Path, loss: Any, named: str | None) -> None:
    model = layered(keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D())
    if loss:
        model.compile(keras.optimizers.Adam(), loss=loss)
    model.save(tmp_path / "model.keras")
    assert keras_files.compiled_loss(tmp_path / "model.keras") == named
    stage = Stage(out=tmp_path / "out", store=tmp_path / "store")
    comparable = doctor.penalty(stage, Foreign(model), tmp_path / "model.keras") is not None
    assert comparable == (named not in ("mse", "binary_crossentropy")) and len(stage.notices) == (not comparable)


def test_the_best_weights_are_known_by_the_accuracy_where_the_loss_is_another_one() -> None:
    course = [{"val_loss": loss, "val_accuracy": accuracy} for loss, accuracy in ((0.6, 0.6), (0.3, 0.9), (0.8, 0.7))]
    labels = np.arange(10, dtype=np.int32) % 2
    called = np.where(np.arange(10) < 9, labels, 1 - labels)
    best = Split((0.8 * np.eye(2)[called] + 0.1).astype(np.float32), labels)
    assert overfitting.kept(course, best, None) == 2
    assert overfitting.kept([{**row, "val_accuracy": 0.9} for row in course[:2]] + course[2:], best, None) == 2
    assert overfitting.kept([{"val_loss": 0.5}, {"val_loss": 0.7}], best, None) == 0
    own = float(best.losses.mean())
    with_penalty = [{"val_loss": own + 2}, {"val_loss": own + 2.5}]
    assert overfitting.kept(with_penalty, best, 2.0) == 1
    assert overfitting.kept([{"val_loss": own}, {"val_loss": own + 2.2}], best, 2.0) == 0


class Own(keras.layers.Layer):  # type: ignore[misc]
    """A layer that no other program has."""

    def call(self, values: Any) -> Any:
        return values


@pytest.mark.parametrize(
    ("layer", "says"),
    [(Own(), "needs Own, which is code of its program's own"), (keras.layers.Lambda(abs), "has a Lambda layer")],
)
def test_code_that_a_file_needs_is_named_and_not_run(tmp_path: Path, layer: keras.layers.Layer, says: str) -> None:
    keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    with pytest.raises(StageError) as caught:
        keras_files.read_foreign(tmp_path / "model.keras", hint="another")
    assert says in caught.value.message and "Keras's own layers" in str(caught.value.hint)


def test_a_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="a folder, no file"):
        keras_files.read_foreign(tmp_path, hint="")
    (tmp_path / "data.zip").touch()
    with pytest.raises(StageError, match="a file, no folder"):
        folder.read(Stage(out=tmp_path / "out"), tmp_path / "data.zip", (SIZE, SIZE))


def test_a_softmax_of_one_unit_is_named() -> None:
    for last, named in (
        (keras.layers.Dense(1, activation="softmax"), True),
        (keras.layers.Dense(1, activation="sigmoid"), False),
        (keras.layers.Dense(2, activation="softmax"), False),
    ):
        found = output_layer.find(keras.Sequential([keras.Input((4,)), last]))
        assert (found is not None) == named and (not found or found.rule == "softmax-of-one")


def test_sigmoids_of_which_none_fires_are_any_class_and_leave_the_other_images_as_they_are() -> None:
    values = np.array([[0.0, 0.0, 0.0], [0.9, 0.3, 0.3]], np.float32)
    np.testing.assert_allclose(as_probabilities(values), [[1 / 3] * 3, [0.6, 0.2, 0.2]], rtol=1e-6)


@pytest.mark.parametrize(("rises", "fix"), [(True, doctor.FIXES["overfitting"]), (False, None)])
def test_stopping_earlier_is_no_cure_for_a_loss_that_stays(rises: bool, fix: str | None) -> None:
    found = Finding("overfitting", "note", "", "", {}, fix="stages.train.params.early_stopping = 3" if rises else None)
    assert doctor.in_keras(found).fix == fix


@pytest.mark.parametrize(("given", "severity"), [("caffe", None), ("unit", "error"), ("symmetric", "error"), ("torch", "error")])
@pytest.mark.parametrize("published", [True, False])
def test_pixels_of_a_network_without_batchnorm_are_judged_by_its_first_kernel(
    given: str, severity: str | None, published: bool
) -> None:
    """A VGG16's, which has seen pictures: neighbours in it are alike, and it fires for large values only."""
    rng = np.random.default_rng(0)
    colours = rng.normal(0, 0.1, (1, 1, 3, 64)) * np.ones((3, 3, 1, 1)) if published else rng.normal(0, 0.1, (3, 3, 3, 64))
    model = layered(keras.layers.Conv2D(64, 3, activation="relu", name="block1_conv1"), keras.layers.GlobalAveragePooling2D())
    model.get_layer("block1_conv1").set_weights([colours, np.full(64, -10.0)])
    order = rng.permutation(COUNTS["train"])
    shown, labels = (values[order] for values in images("train"))
    pixels = apply(CONTRACTS[given], shown)
    found = foreign_scale.find(Foreign(model), Sample(shown, labels), pixels, 0.5)
    assert (found and (found.severity, found.fix)) == ((severity, foreign_scale.AS["caffe"]) if severity and published else None)


def test_the_last_run_tells_its_findings(tmp_path: Path) -> None:
    gathered = branches(tmp_path / "run", [Run({"model": "resnet50"}, accuracy=0.6)], Data(classes=CLASSES))
    stage = Stage(out=tmp_path / "out", branches=gathered)
    record = Finding("one-class", "warning", "All are called blue", "The bias is too large.", {"share": 1.0}).to_json()
    (gathered[0].inputs["evaluate"] / "findings.json").write_text(json.dumps([record]))
    doctor.run(stage)
    assert json.loads((stage.out / "findings.json").read_text()) == [{"branch": "resnet50", **record}]
    with pytest.raises(StageError, match="no evaluated branch"):
        doctor.run(Stage(out=tmp_path / "none", branches=list[Branch]()))
