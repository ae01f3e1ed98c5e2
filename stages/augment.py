"""Augmentation without keras: both backends see the same pixels. One random stream for each (seed, epoch, image)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Recipe:
    """How far images are changed at random; the defaults change nothing. Terms and order of Keras's ImageDataGenerator."""

    name: str = "none"
    rotation: float = 0.0  # degrees, uniform in -rotation..rotation
    width_shift: float = 0.0  # share of the width, uniform in -..+
    height_shift: float = 0.0  # share of the height, uniform in -..+
    shear: float = 0.0  # degrees, uniform in -..+
    zoom: float = 0.0  # factors of the two axes, each uniform in 1 - zoom..1 + zoom; above 1 shows the image smaller
    brightness: tuple[float, float] = (1.0, 1.0)  # factor, uniform in low..high
    horizontal_flip: bool = False  # with probability 1/2
    vertical_flip: bool = False  # with probability 1/2
    validation: bool = False  # whether validation images are changed too
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """augment.json."""
        settings = asdict(self)
        outside = {key: settings.pop(key) for key in ("name", "validation", "seed")}
        return {**outside, "settings": {**settings, "brightness": list(self.brightness)}}

    @property
    def changes(self) -> bool:
        """Whether any image can come out different."""
        return replace(self, name="none", validation=False, seed=0) != Recipe()

    @property
    def bends(self) -> bool:
        """Whether pixels are interpolated: anything beyond flips and brightness."""
        return any((self.rotation, self.width_shift, self.height_shift, self.shear, self.zoom))


RECIPES = {
    "none": Recipe(),
    "light": Recipe("light", rotation=10, width_shift=0.1, height_shift=0.1, zoom=0.1, horizontal_flip=True),
    # Of the question that asked why ResNet50's validation accuracy does not change. zoom_range=60 was meant as per cent;
    # Keras reads factors of -59..61, and so does this.
    "question": Recipe(
        "question", rotation=40, width_shift=0.2, height_shift=0.2, shear=45, zoom=60, brightness=(0.2, 0.7),
        horizontal_flip=True, vertical_flip=True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """What happens to one image."""

    rotation: float  # degrees
    shift: tuple[float, float]  # of columns and rows, in shares
    shear: float  # degrees
    zoom: tuple[float, float]  # of columns and rows
    brightness: float
    flips: tuple[bool, bool]  # left-right, top-bottom


def recipe_from_json(data: dict[str, Any]) -> Recipe:
    """The recipe that Recipe.to_json described."""
    settings = {**data["settings"], "brightness": tuple(data["settings"]["brightness"])}
    return Recipe(name=data["name"], validation=data["validation"], seed=data["seed"], **settings)


def augment(images: NDArray[np.uint8], rows: NDArray[np.integer[Any]], epoch: int, recipe: Recipe) -> NDArray[np.uint8]:
    """The images as the recipe changes them in an epoch, uint8 (B, H, W, 3) both; `rows` (B,) are their manifest rows.

    What happens to an image depends on (recipe, epoch, row) alone, not on the batch it comes in.
    """
    if not recipe.changes:
        return images
    changed = np.empty_like(images)
    for index, row in enumerate(rows):
        changed[index] = transform(images[index], draw(recipe, epoch, int(row)), bend=recipe.bends)
    return changed


def draw(recipe: Recipe, epoch: int, row: int) -> Draw:
    """Random numbers of one image: Philox (Salmon et al. 2011) keyed by the seed, counting from (epoch, row).

    All are drawn whatever the recipe uses, so that switching one setting leaves the others' values alone.
    """
    u = np.random.Generator(np.random.Philox(key=recipe.seed, counter=[0, 0, row, epoch])).random(9).tolist()
    spread = [2 * v - 1 for v in u]
    low, high = recipe.brightness
    return Draw(
        rotation=recipe.rotation * spread[0],
        shift=(recipe.width_shift * spread[1], recipe.height_shift * spread[2]),
        shear=recipe.shear * spread[3],
        zoom=(1 + recipe.zoom * spread[4], 1 + recipe.zoom * spread[5]),
        brightness=low + (high - low) * u[6],
        flips=(recipe.horizontal_flip and u[7] < 0.5, recipe.vertical_flip and u[8] < 0.5),
    )


def transform(image: NDArray[np.uint8], drawn: Draw, *, bend: bool = True) -> NDArray[np.uint8]:
    """One image (H, W, 3) changed: bent, flipped, then its brightness, in ImageDataGenerator's order."""
    if bend:
        image = warp(image, matrix(drawn, image.shape[0], image.shape[1]))
    if drawn.flips[0]:
        image = image[:, ::-1]
    if drawn.flips[1]:
        image = image[::-1]
    if drawn.brightness != 1:
        # Pillow's ImageEnhance.Brightness, which ImageDataGenerator uses, cuts fractions off.
        table = np.minimum(np.arange(256, dtype=np.float32) * np.float32(drawn.brightness), 255).astype(np.uint8)
        image = table[image]
    return image


def matrix(drawn: Draw, height: int, width: int) -> NDArray[np.float64]:
    """(2, 3): the place (row, column) in the image that each place in the result shows, as matrix and offset.

    Rotation, shift, shear, zoom about the centre, composed as keras.src.legacy.preprocessing.image.apply_affine_transform.
    """
    theta, shear = math.radians(drawn.rotation), math.radians(drawn.shear)
    rotation = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    shearing = np.array([[1.0, -math.sin(shear)], [0.0, math.cos(shear)]])
    linear = rotation @ shearing @ np.diag(drawn.zoom)  # in (column, row), as Keras has it
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    offset = centre + rotation @ (np.array(drawn.shift) * (width, height)) - linear @ centre
    return np.column_stack([linear, offset])[::-1][:, [1, 0, 2]]


def places(matrix: NDArray[np.float64], height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Row and column, float32 (H, W) each, that every pixel of the result shows."""
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    (a, b, c), (d, e, f) = matrix.astype(np.float32)
    return a * rows + (b * columns + c), d * rows + (e * columns + f)


def warp(image: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The image seen through a matrix: bilinear, beyond the border its nearest pixel. uint8 (H, W, 3) both.

    Positions are rounded to 1/256 pixel, so that the interpolation fits into integers: the four neighbours of a place are
    packed into one 32-bit word, gathered at once, and the left and the right pair weighed as two 16-bit lanes.
    """
    height, width, channels = image.shape
    packed = np.empty((channels, height + 1, width + 1), np.uint32)
    packed[:, :height, :width] = image.transpose(2, 0, 1)
    packed[:, height], packed[:, :, width] = packed[:, height - 1], packed[:, :, width - 1]
    packed[:, :, :width] |= packed[:, :, 1:] << 8
    packed[:, :height] |= packed[:, 1:] << 16

    row, column = places(matrix, height, width)
    y = (np.clip(row, 0, height - 1) * 256 + np.float32(0.5)).astype(np.uint32)
    x = (np.clip(column, 0, width - 1) * 256 + np.float32(0.5)).astype(np.uint32)
    taken = np.take(packed.reshape(channels, -1), (y >> 8) * (width + 1) + (x >> 8), axis=1)
    y &= 255
    x &= 255
    left, right = taken & 0x00FF00FF, (taken >> 8) & 0x00FF00FF
    both = left * (256 - x) + right * x  # upper row in the low lane, lower row in the high lane, 256 times too large
    blended = (both & 0xFFFF) * (256 - y) + (both >> 16) * y
    result: NDArray[np.uint8] = ((blended + 32768) >> 16).astype(np.uint8).transpose(1, 2, 0)
    return result
