"""What is said of an augmentation before training: on made pictures, for recipes and for settings of a person's own."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.augment import RECIPES, Recipe
from stages.diagnosis import recipe_checks
from tests.pictures import photo


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.stack([np.asarray(photo(i % 2, i)) for i in range(32)])


def settings(lines: str | None) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(lines or "")["stages"]["preprocess"]["params"]
    return found


@pytest.mark.parametrize("recipe", [RECIPES["none"], RECIPES["light"], Recipe("none", brightness=(0.5, 1.5))])
def test_nothing_is_said_of_what_keeps_the_pictures(images: NDArray[np.uint8], recipe: Recipe) -> None:
    assert recipe_checks.find(recipe, images) == []


@pytest.mark.parametrize("zoom", [8.0, 20.0, 60.0])
def test_pictures_that_shrink_to_a_dot(images: NDArray[np.uint8], zoom: float) -> None:
    (found,) = recipe_checks.find(replace(RECIPES["none"], zoom=zoom), images)
    assert found.rule == "augmentation-extreme" and f"zoom = {zoom}" in found.cause
    assert found.evidence["median_share_of_picture"] < 0.5  # type: ignore[operator]
    assert settings(found.fix) == {"zoom": 0.0}


@pytest.mark.parametrize("brightness", [(0.0, 0.02), (0.0, 0.1), (8.0, 10.0)])
def test_pictures_that_are_made_black_or_white(images: NDArray[np.uint8], brightness: tuple[float, float]) -> None:
    (found,) = recipe_checks.find(replace(RECIPES["light"], brightness=brightness), images)
    assert found.rule == "augmentation-extreme" and found.evidence["median_share_of_contrast"] < 0.2  # type: ignore[operator]
    assert settings(found.fix) == {"brightness": [1.0, 1.0]}


def test_validation_is_not_to_be_augmented(images: NDArray[np.uint8]) -> None:
    (found,) = recipe_checks.find(replace(RECIPES["light"], validation=True), images)
    assert found.rule == "validation-augmented" and settings(found.fix) == {"augment_validation": False}
    assert recipe_checks.find(replace(RECIPES["none"], validation=True), images) == []


def test_the_fix_undoes_the_recipe_and_its_own_settings() -> None:
    own = replace(RECIPES["question"], rotation=90.0, horizontal_flip=False)
    assert settings(recipe_checks.instead(own, "none")) == {"augment": "none", "rotation": 0.0, "horizontal_flip": False}
    assert recipe_checks.described(own) == "question, rotation = 90.0, horizontal_flip = false"
