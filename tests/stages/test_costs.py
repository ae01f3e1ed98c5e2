"""What a training costs, held against the backends' own counters, published figures and arithmetic by hand."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kpipe.stage import Stage
from stages import build, ingest, train
from stages.backbones import resnet50
from stages.network import flops
from stages.pixels import CONTRACTS
from stages.training import costs
from stages.training.times import Fitting, Times
from tests.stages import tiny

JAX = keras.backend.backend() == "jax"
IMAGES = 16
ALL = ["c1", "c2", "c3", "c4", "c5", "c6", "hidden", "probabilities"]


def network() -> keras.Model:
    """Convolutions, a residual block and a head, in which little is done but what is counted.

    TensorFlow counts a filter's positions at the border as full ones, XLA by what they see of the image: the borders are
    such that each counts as published figures do.
    """
    layers = keras.layers
    border = "valid" if JAX else "same"
    x = image = keras.Input((32, 32, 8))
    x = layers.Conv2D(32, 3, padding=border, activation="relu", name="c1")(x)
    x = layers.Conv2D(32, 3, padding=border, activation="relu", name="c2")(x)
    x = shortcut = layers.Conv2D(64, 3, padding=border, activation="relu", name="c3")(x)
    x = layers.Conv2D(64, 1, name="c4")(x)
    x = layers.Conv2D(64, 1, name="c5")(x)
    x = layers.Conv2D(128, 2, strides=2, name="c6")(layers.Add(name="add")([shortcut, x]))
    x = layers.Dense(256, activation="relu", name="hidden")(layers.Flatten(name="flatten")(x))
    return keras.Model(image, layers.Dense(3, activation="softmax", name="probabilities")(x))


def counted(function: Any, *arguments: Any) -> float:
    """FLOPs of a function by the backend's own counter."""
    if JAX:
        import jax

        return float(jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"])
    import tensorflow as tf

    specifications = tf.nest.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), arguments)
    traced = tf.function(function).get_concrete_function(*specifications)
    needed = tf.compat.v1.graph_util.extract_sub_graph(traced.graph.as_graph_def(), [out.op.name for out in traced.outputs])
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(needed, name="")
    options = {**tf.compat.v1.profiler.ProfileOptionBuilder.float_operation(), "output": "none"}
    return float(tf.compat.v1.profiler.profile(graph, options=options).total_float_ops)


def forward(model: keras.Model) -> Any:
    """The model as a function of its variables and its input."""
    return lambda learning, fixed, images: model.stateless_call(learning, fixed, images, training=True)[0]


def gradient(model: keras.Model) -> Any:
    """The gradient of a loss by what learns, as a function of the same."""
    loss = lambda *arguments: keras.ops.sum(keras.ops.square(forward(model)(*arguments)))  # noqa: E731
    if JAX:
        import jax

        return jax.grad(loss)
    import tensorflow as tf

    def of_tape(learning: Any, fixed: Any, images: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(learning)
            value = loss(learning, fixed, images)
        return tape.gradient(value, learning)

    return of_tape


@pytest.mark.parametrize("learning", [ALL, ALL[2:], ALL[4:], ALL[5:], ALL[6:]], ids=lambda names: names[0])
def test_flops_of_a_step_are_those_that_the_backend_counts(learning: Collection[str]) -> None:
    model = network()
    for layer in model.layers:
        layer.trainable = layer.name in learning
    found = flops.step(model, [])
    arguments = (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
        np.zeros((IMAGES, 32, 32, 8), np.float32),
    )
    assert counted(forward(model), *arguments) / IMAGES == pytest.approx(sum(cost.forward for cost in found), rel=0.01)
    assert counted(gradient(model), *arguments) / IMAGES == pytest.approx(sum(cost.flops for cost in found), rel=0.01)


@pytest.mark.slow
def test_flops_of_resnet50_are_the_published_ones() -> None:
    told = build.describe(build.construct(resnet50, (224, 224), CONTRACTS["caffe"]))
    assert told["flops"] == pytest.approx(2 * 3.86e9, rel=0.005)  # 3.86 billion multiply-adds without the top


CONVOLUTION = 2 * 10 * 10 * 3 * 3 * 8 * 8  # of the tiny backbone: conv2 and conv3, each 10 x 10 x 8 from as much
HEAD = 2 * 8 * 3


@pytest.mark.parametrize(
    ("unfreeze", "cut", "step"),
    [
        (0, ["out"], 2 * HEAD),
        (4, ["relu2", "relu1"], 2 * CONVOLUTION + 3 * HEAD),
        (7, ["relu1"], 2 * CONVOLUTION + 3 * CONVOLUTION + 3 * HEAD),
    ],
)
def test_backward_goes_down_to_the_lowest_layer_that_learns(unfreeze: int, cut: list[str], step: int) -> None:
    model = tiny.network(unfreeze)
    assert sum(cost.flops for cost in flops.step(model, cut)) == step
    whole = {cost.name: cost.flops for cost in flops.step(model, [])}
    above = {cost.name: cost.flops for cost in flops.step(model, cut)}
    assert {name: whole[name] for name in above} == above
    forward_below = sum(flops.layer_flops(model.get_layer(name)) for name in ("conv1", "conv2", "conv3") if name not in above)
    assert sum(whole.values()) == step + forward_below


def test_activations_are_counted_in_the_type_they_are_computed_in() -> None:
    image = keras.Input((4, 4, 3), name="image")
    half = keras.layers.Conv2D(8, 1, dtype="float16", name="half")(image)
    model = keras.Model(image, keras.layers.Flatten(dtype="float32", name="flatten")(half))
    assert {cost.name: cost.activation_bytes for cost in flops.step(model, [])} == {
        "image": 4 * 4 * 3 * 4, "half": 4 * 4 * 8 * 2, "flatten": 4 * 4 * 8 * 4,
    }  # fmt: skip


def trained(folder: Path, **settings: Any) -> Stage:
    run = tiny.start(folder, augment=settings.pop("augment", None))
    stage = run.stage("train")
    train.run(stage, batch_size=16, **settings)
    return stage


@pytest.mark.slow
def test_a_training_tells_what_it_cost(tmp_path: Path) -> None:
    stage = trained(tmp_path, unfreeze=4, epochs=3)
    told = stage.measures
    [phase] = json.loads((stage.out / "costs.json").read_text())
    assert sum(layer["forward"] + layer["weights"] + layer["inputs"] for layer in phase["layers"]) == told["step_flops"]
    assert told["step_flops"] == 2 * CONVOLUTION + 3 * HEAD
    assert told["forward_flops"] == phase["prefix_flops"] + phase["forward_flops"]
    assert told["activation_bytes"] == 90 * phase["cut_bytes"] == 90 * 2 * 10 * 10 * 8 * 4
    steps = 3 * 60 * told["step_flops"]
    assert told["train_flops_per_second"] == pytest.approx(steps / told["step_seconds"])
    for part in ("train", "prefix"):
        reached = told[f"{part}_flops_per_second"]
        assert told[f"{part}_share_of_peak"] == pytest.approx(reached / told["peak_flops_per_second"])
    assert told["devices"] == 1
    assert all(told[f"{part}_seconds"] > 0 for part in ("prefix", "compile", "step", "validation", "train", "first_step"))
    assert told["images_per_second"] > 0 and told["peak_memory_bytes"] > 2**20
    assert not {"peak_flops_per_second", "train_share_of_peak"} & set(phase)


@pytest.mark.slow
def test_activations_from_the_memo_tell_no_speed(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    for _ in range(2):
        stage = run.stage("train")
        train.run(stage, epochs=1)
    assert stage.measures["activation_bytes"] > 0
    assert "prefix_flops_per_second" not in stage.measures


@pytest.mark.slow
def test_training_through_the_whole_network_costs_the_whole_network(tmp_path: Path) -> None:
    mirrored = {"name": "flips", "settings": {"horizontal_flip": True, "brightness": [1.0, 1.0]}, "validation": False, "seed": 0}
    settings: dict[str, Any] = {"unfreeze": 4, "epochs": 1}
    kept, off = trained(tmp_path / "on", **settings), trained(tmp_path / "off", **settings, activations="off")
    drawn = trained(tmp_path / "drawn", **settings, augment=mirrored, views=0)
    for stage in (off, drawn):
        assert stage.measures["prefix_flops"] == 0
        assert stage.measures["step_flops"] == kept.measures["step_flops"] + kept.measures["prefix_flops"]
    assert off.measures["activation_bytes"] == 0


@pytest.mark.slow
def test_lower_precision_halves_the_activations_of_a_step_but_for_the_softmax(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"unfreeze": 4, "epochs": 1}
    whole = trained(tmp_path / "float32", **settings).measures["tail_activation_bytes"]
    half = trained(tmp_path / "bfloat16", **settings, precision="mixed_bfloat16").measures["tail_activation_bytes"]
    assert half == (whole - 3 * 4) // 2 + 3 * 4


@pytest.mark.slow
def test_every_phase_tells_its_own_cost(tmp_path: Path) -> None:
    stage = trained(tmp_path, phases=[{"unfreeze": 0, "epochs": 1}, {"unfreeze": "all", "epochs": 1}])
    first, second = json.loads((stage.out / "costs.json").read_text())
    assert first["step_flops"] == 2 * HEAD
    assert (second["cut"], second["step_flops"]) == ([], stage.measures["step_flops"])
    fitted = 60 * (first["step_flops"] + second["step_flops"])
    assert stage.measures["train_flops_per_second"] == pytest.approx(fitted / stage.measures["step_seconds"])


@pytest.mark.parametrize(
    ("fitting", "seconds"),
    [
        (Fitting(10, 3.0, 1, [5.0, 2.5, 2.0]), 3.0),
        (Fitting(10, 3.0, 1, [5.0]), 3.0 - 2.0 / 9),
        (Fitting(10, 3.0, 4, [5.0]), 3.0 - 4 * 2.0 / 6),
        (Fitting(1, 3.0, 1, [3.0]), 0.0),
        (Fitting(10, 0.2, 1, [2.0, 2.5]), 0.0),
    ],
)
def test_compiling_is_what_the_beginning_takes_longer_than_the_rest(fitting: Fitting, seconds: float) -> None:
    assert fitting.compile_seconds == pytest.approx(seconds)


def test_times_add_up_over_phases() -> None:
    times = Times()
    for phase, seconds in [(0, 5.0), (0, 2.0), (1, 9.0), (1, 4.0)]:
        times.epoch(phase, seconds, steps=10, first_seconds=3.0 + phase)
    told = times.told(images=80)
    assert (told["compile_seconds"], told["step_seconds"]) == (3.0 + 5.0, 2 * 2.0 + 2 * 4.0)
    assert (told["first_step_seconds"], told["epoch_seconds"], told["images_per_second"]) == (3.0, 4.0, 20.0)


def test_the_peak_is_that_of_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {1024: 0.001, 2048: 0.01, 4096: 0.05}
    monkeypatch.setattr(costs, "fastest_product", lambda size, dtype: taken[size])
    assert costs.peak_flops_per_second.__wrapped__("float32") == pytest.approx(2 * 4096**3 / 0.05)


def test_ingest_tells_how_long_it_read(tmp_path: Path) -> None:
    stage = Stage(out=tmp_path / "out")
    ingest.run(stage, source="sample:digits", image_size=8)
    assert stage.measures["decode_seconds"] > 0
