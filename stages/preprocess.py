"""The pixel contract and the augmentation recipe for a backbone, a contact sheet, and what can be checked before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np

from kpipe.stage import Module, Stage, StageError
from stages import contact_sheet, json_files, pixels
from stages.augment import RECIPES, Recipe
from stages.data import manifest
from stages.diagnosis import recipe_checks, static_checks
from stages.diagnosis.finding import say


def run(
    stage: Stage,
    *,
    model: Module["stages.backbones"],  # noqa: F821, UP037
    scaling: Literal["model", "unit", "symmetric", "torch", "none"] = "model",
    augment: Literal["none", "light", "question"] = "none",
    rotation: Annotated[float, "0 <= rotation <= 180"] | None = None,
    width_shift: Annotated[float, "0 <= width_shift <= 1"] | None = None,
    height_shift: Annotated[float, "0 <= height_shift <= 1"] | None = None,
    shear: Annotated[float, "0 <= shear < 90"] | None = None,
    zoom: Annotated[float, "0 <= zoom <= 100"] | None = None,
    brightness: Annotated[list[float], "0 <= brightness <= 10"] | None = None,
    horizontal_flip: bool | None = None,
    vertical_flip: bool | None = None,
    augment_validation: bool = False,
    seed: Annotated[int, "0 <= seed < 4294967296"] = 0,
) -> None:
    """Give pixels.json, augment.json, contact_sheet.png and checks.json.

    `scaling`: the pixels that the backbone's weights want ("model"), 1/255 ("unit"), -1..1 ("symmetric"),
    standardised by ImageNet's means and deviations ("torch"), or 0..255 ("none").
    `augment` is a recipe of stages.augment; each single setting that is given replaces the recipe's. rotation and shear are
    degrees, shifts are shares of the side, zoom z means factors of 1 - z..1 + z, brightness is [low, high] factors.
    """
    backbone = stage.module(model)
    settings = {
        "rotation": rotation, "width_shift": width_shift, "height_shift": height_shift, "shear": shear, "zoom": zoom,
        "brightness": low_and_high(brightness), "horizontal_flip": horizontal_flip, "vertical_flip": vertical_flip,
    }  # fmt: skip
    recipe = replace(recipe_of(augment, settings), validation=augment_validation, seed=seed)
    ingest = stage.inputs["ingest"]
    dataset, audit = json_files.read(ingest / "dataset.json"), json_files.read(ingest / "audit.json")
    pixels.check_size(dataset["image_size"], backbone)

    applied, wanted = pixels.contract(scaling, backbone), pixels.contract("model", backbone)
    images = np.load(ingest / "images.npy", mmap_mode="r")
    shown = contact_sheet.chosen(manifest.read(ingest / "manifest.csv"))
    contact_sheet.write(stage.out / "contact_sheet.png", images, shown, applied, wanted, recipe)
    json_files.write(stage.out / "pixels.json", {
        "scaling": scaling, "backbone": model, "name": backbone.NAME, "image_size": dataset["image_size"],
        "contract": applied.to_json(), "weights_contract": wanted.to_json(),
    })  # fmt: skip
    json_files.write(stage.out / "augment.json", recipe.to_json())
    checks = [
        *static_checks.of_pixels(scaling, backbone.NAME, applied, wanted),
        *recipe_checks.find(recipe, images),
        *static_checks.of_data(dataset, audit),
    ]
    say(stage, checks)
    json_files.write(stage.out / "checks.json", [check.to_json() for check in checks])


def recipe_of(name: str, settings: Mapping[str, Any]) -> Recipe:
    """The named recipe with the settings that are not None in place of its own."""
    return replace(RECIPES[name], **{key: value for key, value in settings.items() if value is not None})


def low_and_high(brightness: Sequence[float] | None) -> tuple[float, float] | None:
    """The two factors of a brightness range; StageError where they are not two in order."""
    if brightness is None:
        return None
    if len(brightness) != 2 or brightness[0] > brightness[1]:
        raise StageError(f"brightness = {list(brightness)} is no range", hint="give [low, high], for example [0.8, 1.2]")
    return float(brightness[0]), float(brightness[1])
