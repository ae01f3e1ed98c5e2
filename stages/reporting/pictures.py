"""Pictures of a page that are held once, however often they are shown, and heat maps to lay over them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.data import thumbnail
from stages.data.rows import Rows
from stages.reporting.results import Result

HUE = (255, 120, 0)  # on a picture without colours
STRONGEST = 0.75  # opacity
SIDES = (("top", "middle", "bottom"), ("left", "", "right"))


@dataclass(frozen=True)
class Picture:
    """A prepared image: its number on the page, its size in pixels, its data as a link."""

    number: int
    width: int
    height: int
    data: str


@dataclass
class Store:
    """The pictures of a page, as long as there is room for them."""

    room: int  # characters
    held: dict[tuple[Path, int], Picture] = field(default_factory=dict)  # by ingest's artifact and row
    _rows: dict[Path, Rows] = field(default_factory=dict)

    def take(self, result: Result, row: int, beside: int = 0) -> Picture | None:
        """The picture of a row; None where there is no room for it and so many characters `beside` it."""
        folder = result.folder("ingest")
        if found := self.held.get((folder, row)):
            return found if self.spend(beside) else None
        if folder not in self._rows:
            self._rows[folder] = Rows.of(folder / "images.npy")
        [pixels] = self._rows[folder][np.array([row])]
        content = thumbnail.jpeg(pixels)
        if not self.spend(len(content) + beside):
            return None
        height, width = pixels.shape[:2]
        found = Picture(len(self.held) + 1, width, height, f"data:image/jpeg;base64,{content}")
        return self.held.setdefault((folder, row), found)

    def spend(self, characters: int) -> bool:
        """Take so much of the room; False where there is not so much left."""
        if characters > self.room:
            return False
        self.room -= characters
        return True


def overlay(heat: NDArray[np.uint8]) -> str:
    """A heat map (h, w) as a PNG link: one hue, the more opaque the more heat."""
    painted = np.empty((*heat.shape, 4), np.uint8)
    painted[..., :3], painted[..., 3] = HUE, np.rint(heat * STRONGEST)
    file = io.BytesIO()
    Image.fromarray(painted, "RGBA").save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def place(heat: NDArray[np.uint8]) -> str:
    """Where a heat map (h, w) is strongest, in words: `top left`, `middle`; empty where it is nowhere."""
    if not heat.any():
        return ""
    at = np.unravel_index(heat.argmax(), heat.shape)
    return " ".join(names[int(3 * (i + 0.5) / n)] for names, i, n in zip(SIDES, at, heat.shape, strict=True)).strip()
