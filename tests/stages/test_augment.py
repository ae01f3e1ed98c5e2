"""Augmentation: seeded for each image, exact in its geometry, the old generator's numbers."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import ndimage

from stages.augment import RECIPES, Draw, Recipe, augment, draw, matrix, recipe_from_json, transform, warp

STILL = Draw(rotation=0, shift=(0, 0), shear=0, zoom=(1, 1), brightness=1, flips=(False, False))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def moved(image, **changes):
    return transform(image, dataclasses.replace(STILL, **changes))


@pytest.mark.parametrize("name", ["light", "question"])
def test_an_image_does_not_depend_on_its_batch(name):
    images, rows = noise(6, 20, 24, 3), np.array([3, 1, 4, 15, 9, 2])
    whole = augment(images, rows, 2, RECIPES[name])
    for keep in ([0], [5, 2], [4, 3, 2, 1, 0]):
        assert (augment(images[keep], rows[keep], 2, RECIPES[name]) == whole[keep]).all()


def test_seed_epoch_and_row_each_give_other_changes():
    recipe = RECIPES["light"]
    draws = [draw(recipe, 0, 0), draw(recipe, 1, 0), draw(recipe, 0, 1), draw(dataclasses.replace(recipe, seed=1), 0, 0)]
    assert len(set(draws)) == 4 and draw(recipe, 0, 0) == draws[0]


def test_switching_a_setting_leaves_the_other_draws_alone():
    bare = dataclasses.replace(RECIPES["light"], rotation=0, horizontal_flip=False)
    for row in range(20):
        a, b = draw(RECIPES["light"], 0, row), draw(bare, 0, row)
        assert (a.shift, a.zoom, a.brightness) == (b.shift, b.zoom, b.brightness)


def test_none_changes_nothing():
    images = noise(3, 8, 8, 3)
    assert (augment(images, np.arange(3), 5, RECIPES["none"]) == images).all()
    assert not dataclasses.replace(RECIPES["none"], seed=5, validation=True).changes


def test_the_input_is_not_written_to():
    images = noise(2, 16, 16, 3)
    before = images.copy()
    augment(images, np.arange(2), 0, RECIPES["question"])
    assert (images == before).all()


def test_draws_fill_their_ranges_and_stay_within():
    draws = [draw(RECIPES["question"], e, r) for e in range(4) for r in range(500)]
    for values, low, high in [
        ([d.rotation for d in draws], -40, 40), ([d.shear for d in draws], -45, 45), ([d.brightness for d in draws], 0.2, 0.7),
        ([d.zoom[0] for d in draws], -59, 61), ([d.zoom[1] for d in draws], -59, 61), ([d.shift[0] for d in draws], -0.2, 0.2),
    ]:  # fmt: skip
        span = high - low
        assert low <= min(values) < low + span / 50 and high - span / 50 < max(values) <= high
        assert abs(np.mean(values) - (low + high) / 2) < span / 40
    flips = np.mean([d.flips for d in draws], axis=0)
    assert np.abs(flips - 0.5).max() < 0.05
    assert abs(np.corrcoef([d.flips for d in draws], rowvar=False)[0, 1]) < 0.1
    assert abs(np.corrcoef([d.zoom for d in draws], rowvar=False)[0, 1]) < 0.1


def test_question_is_the_recipe_of_the_question():
    found = RECIPES["question"].to_json()["settings"]
    assert found == {
        "rotation": 40, "width_shift": 0.2, "height_shift": 0.2, "shear": 45, "zoom": 60, "brightness": [0.2, 0.7],
        "horizontal_flip": True, "vertical_flip": True,
    }  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_json_gives_the_same_recipe_back(name):
    recipe = dataclasses.replace(RECIPES[name], seed=3, validation=True)
    assert recipe_from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_known_movements_go_the_right_way():
    image = noise(9, 9, 3)
    assert (moved(image, flips=(True, False)) == image[:, ::-1]).all()
    assert (moved(image, flips=(False, True)) == image[::-1]).all()
    assert (moved(image, rotation=90) == np.rot90(image)).all() or (moved(image, rotation=90) == np.rot90(image, -1)).all()
    assert (moved(image, zoom=(-1, 1)) == image[:, ::-1]).all()
    wide = noise(10, 20, 3)
    assert (moved(wide, shift=(0.1, 0))[:, :-2] == wide[:, 2:]).all() and (
        moved(wide, shift=(0.1, 0))[:, -2:] == wide[:, -1:]
    ).all()
    assert (moved(wide, shift=(0, 0.1))[:-1] == wide[1:]).all()


def test_brightness_multiplies_as_pillow_does():
    from PIL import Image, ImageEnhance

    image = noise(16, 16, 3)
    for factor in (0.2, 0.45, 0.7, 1.5):
        expected = np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(factor)).astype(int)
        assert np.abs(moved(image, brightness=factor) - expected).max() <= 1


@pytest.mark.parametrize("shape", [(40, 40, 3), (31, 47, 3), (1, 9, 3)])
def test_warp_is_scipys_bilinear_interpolation_with_edge_fill(shape):
    image = noise(*shape)
    for row in range(20):
        drawn = draw(Recipe(rotation=90, shear=30, zoom=0.5, width_shift=0.3, height_shift=0.3), 0, row)
        m = matrix(drawn, *shape[:2])
        expected = np.stack(
            [ndimage.affine_transform(image[..., c] / 1.0, m[:, :2], m[:, 2], order=1, mode="nearest") for c in range(3)], -1
        )
        error = np.abs(warp(image, m) - expected)
        assert error.max() <= 2 and error.mean() < 0.6  # positions are kept to 1/256 pixel


def test_rotation_shift_shear_and_zoom_are_composed_in_this_order_about_the_centre():
    drawn = Draw(rotation=30, shift=(0.1, -0.2), shear=20, zoom=(0.5, 2), brightness=1, flips=(False, False))
    cos, sin, shear = np.cos(np.pi / 6), np.sin(np.pi / 6), np.pi / 9
    to_centre = np.array([[1, 0, -9.5], [0, 1, -4.5], [0, 0, 1]])  # 10 rows, 20 columns; (column, row, 1)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    shift = np.array([[1, 0, 2], [0, 1, -2], [0, 0, 1]])
    shearing = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    whole = np.linalg.inv(to_centre) @ rotation @ shift @ shearing @ np.diag([0.5, 2, 1]) @ to_centre
    column, row = (whole @ [3, 7, 1])[:2]
    assert np.allclose(matrix(drawn, 10, 20) @ [7, 3, 1], [row, column])


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["question", "light"])
def test_geometry_is_that_of_keras_legacy_generator(recipe, monkeypatch):
    pytest.importorskip("keras")
    import scipy
    from keras.src.legacy.preprocessing.image import apply_affine_transform

    monkeypatch.setattr(scipy.ndimage, "interpolation", scipy.ndimage, raising=False)
    y, x = np.mgrid[0:32, 0:32]
    image = np.stack([8 * x, 8 * y, 4 * (x + y)], -1).astype(np.uint8)
    for row in range(50):
        drawn = draw(RECIPES[recipe], 0, row)
        expected = apply_affine_transform(
            image.astype(np.float32), drawn.rotation, 32 * drawn.shift[0], 32 * drawn.shift[1], drawn.shear, *drawn.zoom,
            row_axis=0, col_axis=1, channel_axis=2, fill_mode="nearest",
        )  # fmt: skip
        assert np.abs(warp(image, matrix(drawn, 32, 32)) - expected).max() <= 1
