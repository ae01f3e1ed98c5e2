"""Augmented copies that come again: which copy an epoch shows, and what is stored of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kpipe.stage import StageError
from stages import disk, train
from stages.augment import augment, recipe_from_json
from stages.data.labels import Labels
from stages.network import activations, cut, graph
from stages.network.prefix import Images
from stages.training.feeds import Feeds
from tests.stages import tiny
from tests.stages.test_activations import small, split_otherwise

RECIPE: dict[str, Any] = {
    "name": "none", "settings": {"brightness": [0.3, 1.0], "horizontal_flip": True}, "validation": False, "seed": 2,
}  # fmt: skip
TRAINED = np.array([row for row in range(90) if tiny.split(row) == "train"])


def feeds(run: tiny.Run, *, views: int, epochs: range = range(1, 6), dtype: str = "float32", unfreeze: int = 4) -> Feeds:
    network, layers = small(unfreeze, pooling="flatten")
    place = cut.place(network, layers) if dtype != "off" else []
    labels = Labels(run.inputs["ingest"])
    return Feeds.prepare(run.stage("train"), network, place, labels, dtype=dtype, views=views, epochs=epochs)


def shown(feeds: Feeds, epoch: int) -> tuple[np.ndarray, ...]:
    batch = feeds.training.at(epoch).take(TRAINED)
    return batch if isinstance(batch, tuple) else (batch,)


def equal(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> bool:
    return len(a) == len(b) and all(map(np.array_equal, a, b))


@pytest.mark.slow
def test_epoch_shows_the_activations_of_its_copy_and_after_the_last_of_the_first_again(tmp_path: Path) -> None:
    run = tiny.start(tmp_path, augment=RECIPE)
    found = feeds(run, views=2)
    network, layers = small(4, pooling="flatten")
    below = graph.part(network, [], cut.place(network, layers))
    pixels = np.load(run.inputs["ingest"] / "images.npy")[TRAINED]
    for epoch, view in ((1, 1), (2, 2), (3, 1), (4, 2), (5, 1)):
        copy = augment(pixels, TRAINED, view, recipe_from_json(RECIPE))
        for array, values in zip(shown(found, epoch), below.predict_on_batch(copy), strict=True):
            np.testing.assert_allclose(array, values, atol=1e-6)
    assert not equal(shown(found, 1), shown(found, 2))


@pytest.mark.parametrize(("views", "first_again"), [(0, None), (2, 3), (4, 5)])
def test_copies_come_again_without_stored_activations_too(tmp_path: Path, views: int, first_again: int | None) -> None:
    found = feeds(tiny.start(tmp_path, augment=RECIPE), views=views, dtype="off")
    epochs = [shown(found, epoch) for epoch in range(1, 6)]
    assert [epoch for epoch in range(2, 6) if equal(epochs[0], epochs[epoch - 1])] == (
        list(range(first_again, 6, views)) if first_again else []
    )


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_with_as_many_copies_as_epochs_training_is_that_of_fresh_augmentation(tmp_path: Path) -> None:
    run = tiny.start(tmp_path, augment=RECIPE)
    settings: dict[str, Any] = {"epochs": 3, "unfreeze": 4, "batch_size": 20, "dropout": 0.3, "learning_rate": 0.01}
    fresh, copies, few = (history(run.run("train", train.run, **settings, views=views)) for views in (0, 3, 1))
    a, b, c = ([float(row["loss"]) for row in rows] for rows in (fresh, copies, few))
    assert b == pytest.approx(a, rel=1e-5)
    assert c[0] == pytest.approx(a[0], rel=1e-5) and c[1:] != pytest.approx(a[1:], rel=1e-3)


@pytest.mark.slow
def test_only_images_that_are_augmented_are_stored_in_copies(tmp_path: Path) -> None:
    per_image = (8 * 100 + 8 * 100) * 4
    for validation, augmented in ((False, 60), (True, 75)):
        run = tiny.start(tmp_path / str(validation), augment={**RECIPE, "validation": validation})
        assert feeds(run, views=2).stored_bytes == (2 * augmented + 90) * per_image


@pytest.mark.slow
def test_validation_is_plain_unless_it_is_augmented_too(tmp_path: Path) -> None:
    rows = np.array([row for row in range(90) if tiny.split(row) == "validation"])
    for validation in (False, True):
        found = feeds(tiny.start(tmp_path / str(validation), augment={**RECIPE, "validation": validation}), views=2)
        first, second = (found.validation.at(epoch).take(rows)[0] for epoch in (1, 2))
        assert np.array_equal(first, found.plain.take(rows)[0]) != validation
        assert np.array_equal(first, second) != validation


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images go through the frozen layers, in the order in which it happens."""
    counts: list[int] = []
    honest = activations.compute

    def counting(*arguments: Any) -> None:
        counts.append(len(arguments[2]))
        honest(*arguments)

    monkeypatch.setattr(activations, "compute", counting)
    return counts


@pytest.mark.slow
def test_more_copies_and_other_splits_compute_only_what_is_new(tmp_path: Path, computed: list[int]) -> None:
    run = tiny.start(tmp_path, augment=RECIPE)
    feeds(run, views=2)
    assert computed == [60, 60, 90]
    feeds(run, views=2)
    feeds(run, views=3)
    assert computed[3:] == [60]
    before = set(TRAINED)
    split_otherwise(run.inputs["ingest"])
    new = set(Labels(run.inputs["ingest"]).rows("train")) - before
    feeds(run, views=2)
    assert 0 < len(new) < 60 and computed[4:] == [len(new)] * 2


@pytest.mark.slow
def test_copies_that_no_epoch_shows_are_not_computed(tmp_path: Path, computed: list[int]) -> None:
    run = tiny.start(tmp_path, augment=RECIPE)
    feeds(run, views=9, epochs=range(1, 3))
    assert computed == [60, 60, 90]
    found = feeds(run, views=9, epochs=range(3, 5))  # as a second phase that begins after two epochs
    assert computed[3:] == [60, 60] and not equal(shown(found, 3), shown(found, 4))
    assert len(shown(found, 0)) == 2  # the learning-rate finder's


@pytest.mark.slow
def test_another_recipe_or_seed_has_copies_of_its_own(tmp_path: Path, computed: list[int]) -> None:
    for changed in ({}, {"seed": 3}, {"settings": {"brightness": [0.3, 0.9], "horizontal_flip": True}}, {"name": "same"}):
        run = tiny.start(tmp_path / str(len(computed)), augment={**RECIPE, **changed})
        run.folder = tmp_path  # one store
        feeds(run, views=1)
    assert computed == [60, 90, 60, 60]


def test_nothing_is_stored_in_copies_where_nothing_is_augmented(tmp_path: Path, computed: list[int]) -> None:
    found = feeds(tiny.start(tmp_path), views=3)
    assert computed == [90] and found.training is found.plain


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float16", 2)])
def test_copies_that_do_not_fit_beside_the_plain_images_are_refused_before_any_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, computed: list[int], dtype: str, size: int
) -> None:
    needed = (3 * 60 + 90) * 1600 * size
    run = tiny.start(tmp_path, augment=RECIPE)
    for free in (needed - 1, needed):
        monkeypatch.setattr(disk.shutil, "disk_usage", lambda path, free=free: type("Usage", (), {"free": free})())
        if free < needed:
            with pytest.raises(StageError, match=f"activations of 270 images take {disk.size(needed)}"):
                feeds(run, views=3, dtype=dtype)
            assert computed == []
        else:
            feeds(run, views=3, dtype=dtype)
    assert computed == [60, 60, 60, 90]


@pytest.mark.slow
def test_pooled_copies_follow_from_stored_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny.start(tmp_path, augment=RECIPE)
    flat = feeds(run, views=2, unfreeze=0)

    def refuse(images: Images, view: int) -> None:
        raise AssertionError("activations were computed again")

    monkeypatch.setattr(Images, "pixels", refuse)
    network, layers = small(0)
    arguments: dict[str, Any] = {"dtype": "float32", "views": 2, "epochs": range(1, 4)}
    pooled = Feeds.prepare(run.stage("train"), network, cut.place(network, layers), Labels(run.inputs["ingest"]), **arguments)
    for epoch in (1, 2):
        np.testing.assert_allclose(shown(pooled, epoch)[0], shown(flat, epoch)[0].mean(axis=(1, 2)), atol=1e-6)


@pytest.mark.slow
def test_training_says_how_many_copies_it_saw(tmp_path: Path) -> None:
    run = tiny.start(tmp_path, augment=RECIPE)
    out = run.run("train", train.run, epochs=1, views=2, activations="float16")
    told = json.loads((out / "training.json").read_text())
    assert (told["views"], told["activations"], told["frozen_prefix"]["cut"]) == (2, "float16", ["out"])
