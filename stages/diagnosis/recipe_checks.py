"""What can be said against an augmentation before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from stages.augment import RECIPES, Recipe, draw, matrix, places, transform
from stages.diagnosis.finding import Finding

DRAWS = 200
LEAST_INSIDE = 0.5  # below half a picture, what is left of most images is a smeared border
LEAST_CONTRAST = 0.2  # of the picture's own
LOOKED_AT = 64  # images for the contrast
GENTLE = ("none", "light")  # recipes that are not too strong by themselves
SETTINGS = [setting.name for setting in fields(Recipe) if setting.name not in ("name", "validation", "seed")]


def find(recipe: Recipe, images: NDArray[np.uint8]) -> list[Finding]:
    """What the augmentation does to the images, uint8 (N, H, W, 3), that it should not."""
    return [*validation_augmented(recipe), *pictures_lost(recipe, images.shape[1], images.shape[2]), *faded(recipe, images)]


def validation_augmented(recipe: Recipe) -> Iterator[Finding]:
    """Validation on changed images measures another task than the one the model is for."""
    if recipe.validation and recipe.changes:
        yield Finding(
            "validation-augmented", "warning", "Validation images are augmented",
            "augment_validation = true changes validation images at random, so their accuracy is not that of real images.",
            {"recipe": described(recipe)}, "stages.preprocess.params.augment_validation = false",
        )  # fmt: skip


def pictures_lost(recipe: Recipe, height: int, width: int) -> Iterator[Finding]:
    """How much of the result shows the picture rather than its repeated border, over DRAWS random draws."""
    shares = [inside(recipe, row, height, width) for row in range(DRAWS)] if recipe.bends else [1.0]
    if float(np.median(shares)) < LEAST_INSIDE:
        yield Finding(
            "augmentation-extreme", "warning", "Augmentation leaves little of the pictures",
            f'Half of the images augmented by "{described(recipe)}" show the picture on less than '
            f"{100 * np.median(shares):.1f} % of their area; the rest is its border, repeated.",
            {"median_share_of_picture": round(float(np.median(shares)), 4), "zoom_factors": [1 - recipe.zoom, 1 + recipe.zoom]},
            instead(recipe, gentle(recipe)),
        )  # fmt: skip


def inside(recipe: Recipe, row: int, height: int, width: int) -> float:
    """Share of the result's pixels that show a place within the picture."""
    y, x = places(matrix(draw(recipe, 0, row), height, width), height, width)
    return float(np.mean((y >= -0.5) & (y <= height - 0.5) & (x >= -0.5) & (x <= width - 0.5)))


def faded(recipe: Recipe, images: NDArray[np.uint8]) -> Iterator[Finding]:
    """How much of the pictures' contrast is left where they are made nearly black, or white."""
    if recipe.brightness == (1.0, 1.0):
        return
    some = np.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).astype(int)
    pairs = [(images[row], transform(images[row], draw(recipe, 0, int(row)), bend=False)) for row in some]
    left = float(np.median([after.std() / max(float(before.std()), 1.0) for before, after in pairs]))
    if left < LEAST_CONTRAST:
        yield Finding(
            "augmentation-extreme", "warning", "Augmentation leaves little of the pictures",
            f'Half of the images augmented by "{described(recipe)}" have less than {100 * left:.1f} % of their contrast left: '
            "they are nearly black, or white.",
            {"median_share_of_contrast": round(left, 4), "brightness": list(recipe.brightness)},
            instead(recipe, gentle(recipe)),
        )  # fmt: skip


def own(recipe: Recipe) -> list[str]:
    """Settings that are not those of the recipe of its name."""
    return [name for name in SETTINGS if getattr(recipe, name) != getattr(RECIPES[recipe.name], name)]


def gentle(recipe: Recipe) -> str:
    """The recipe that is left without its own settings, or that of no augmentation where it is too strong by itself."""
    return recipe.name if recipe.name in GENTLE else "none"


def described(recipe: Recipe) -> str:
    """The recipe's name, and the settings that were changed in it."""
    changed = [f"{name} = {written(getattr(recipe, name))}" for name in own(recipe)]
    return ", ".join([recipe.name, *changed])


def instead(recipe: Recipe, name: str) -> str:
    """The lines of the pipeline file that put the recipe of a name in the place of this one."""
    lines = [] if recipe.name == name else [f'augment = "{name}"']
    lines += [f"{setting} = {written(getattr(RECIPES[name], setting))}" for setting in own(recipe)]
    return "\n".join(f"stages.preprocess.params.{line}" for line in lines)


def written(value: object) -> str:
    """A setting as TOML has it."""
    return json.dumps(value)
