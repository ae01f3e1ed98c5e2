"""The arithmetic of the training benchmark: what it counts, and what it makes of two epochs."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from tests.benchmarks.training import pictures
from tests.benchmarks.training.arithmetic import Work
from tests.benchmarks.training.peers import extrapolated
from tests.benchmarks.training.recipes import RECIPES, Task, weights_of
from tests.benchmarks.training.scripts.flops import count
from tests.benchmarks.training.scripts.network import build


def network(*learning: str) -> keras.Model:
    """A convolution, a residual branch of two, and a head; of these the named ones and the head learn."""
    image = keras.Input((8, 8, 3))
    trunk = keras.layers.Conv2D(4, 3, padding="same", name="trunk")(image)
    branch = keras.layers.Conv2D(4, 1, name="first")(trunk)
    branch = keras.layers.Conv2D(4, 1, name="second")(branch)
    features = keras.layers.Flatten()(keras.layers.Add()([trunk, branch]))
    model = keras.Model(image, keras.layers.Dense(2, name="head")(features))
    for layer in model.layers:
        layer.trainable = layer.name in (*learning, "head")
    return model


TRUNK, BRANCH, HEAD = 2 * 64 * 4 * 27, 2 * 64 * 4 * 4, 2 * 256 * 2


def test_gradients_reach_down_to_the_lowest_layer_that_learns() -> None:
    assert count(network()) == {"prefix": TRUNK + 2 * BRANCH, "tail": HEAD, "backward": HEAD}
    assert count(network("second")) == {"prefix": TRUNK + BRANCH, "tail": BRANCH + HEAD, "backward": BRANCH + 2 * HEAD}
    assert count(network("first")) == {"prefix": TRUNK, "tail": 2 * BRANCH + HEAD, "backward": 2 * BRANCH + 2 * HEAD}


def test_network_that_learns_from_its_first_layer_on_has_no_prefix() -> None:
    whole = network("trunk", "first", "second")
    assert count(whole)["prefix"] == 0
    assert count(whole)["backward"] == TRUNK + 2 * (2 * BRANCH + HEAD)


def test_ceiling_counts_the_prefix_once_for_kpipe_and_in_every_epoch_for_a_script() -> None:
    work = Work(prefix=10, tail=2, backward=3, images={"train": 4, "validation": 2, "test": 1}, epochs=5)
    assert work.script == 5 * (4 * 15 + 2 * 12) + 12
    assert work.kpipe_second == 5 * (4 * 5 + 2 * 2) + 2
    assert work.kpipe_first == 7 * 10 + work.kpipe_second
    assert work.ceiling_first == work.script / work.kpipe_first


def test_short_run_counts_its_first_epoch_once_and_its_last_one_for_all_others() -> None:
    assert extrapolated(seconds=30.0, epochs=[12.0, 8.0], wanted=15) == 10.0 + 12.0 + 14 * 8.0
    assert extrapolated(seconds=30.0, epochs=[12.0, 8.0], wanted=2) == 30.0


def test_peer_trains_as_many_of_the_last_layers_as_kpipe(tmp_path: Path) -> None:
    data = pictures.made_up(tmp_path, {"train": 2, "validation": 2, "test": 2}, size=32)
    task = Task("vgg16", "tensorflow", RECIPES["question"], data, "random", size=32)
    learning = [layer.name for layer in build(task.for_scripts()).layers if layer.trainable_weights]
    assert learning[:3] == ["block5_conv1", "block5_conv2", "block5_conv3"]
    assert len(learning) == 5  # and the head's two


@pytest.mark.parametrize("name", ["resnet50_notop.weights.h5", "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"])
def test_weights_are_found_by_either_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert weights_of("resnet50", str(tmp_path)) == str(tmp_path / name)
    assert weights_of("vgg16", str(tmp_path)) is None
