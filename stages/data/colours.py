"""Any kind of pixels as RGB with eight bits a channel: depths scaled, transparency composited, inks and palettes resolved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from kpipe.stage import StageError
from stages.data.bad_images import BadImage

RGB = tuple[int, int, int]  # 0..255
WHITE: RGB = (255, 255, 255)
NAMED: dict[str, RGB] = {"white": WHITE, "black": (0, 0, 0)}
TO_EIGHT = ((np.arange(65536, dtype=np.int64) * 255 + 32767) // 65535).astype(np.uint8)  # a table: less memory than arithmetic
PHOTOMETRIC = 262  # TIFF's tag; 0: the smallest value is white
STEPS = {"L;2": 85, "L;4": 17}  # Pillow's raw mode of a grey picture with fewer than eight bits -> 255 over its largest value


def colour(background: str | Sequence[int]) -> RGB:
    """The colour that a name or [red, green, blue], 0..255, means; StageError where there are not three numbers."""
    if isinstance(background, str):
        return NAMED[background]
    if len(background) != 3:
        raise StageError(
            f"background = {list(background)} has {len(background)} numbers", hint="give [red, green, blue], from 0 to 255"
        )
    red, green, blue = background
    return red, green, blue


def raw_transparency(image: Image.Image) -> int | None:
    """The one grey of a picture, not yet loaded, that is transparent, on the scale of its pixels once they are; None: none."""
    grey = image.info.get("transparency")
    if image.mode not in ("1", "L", "I;16", "I") or not isinstance(grey, int):
        return None
    tiles = getattr(image, "tile", ())
    raw = tiles[0].args if tiles else None
    name = raw if isinstance(raw, str) else raw[0] if isinstance(raw, tuple) and raw else ""
    return 255 * bool(grey) if image.mode == "1" else grey * STEPS.get(str(name), 1)


def to_rgb(image: Image.Image, background: RGB = WHITE, clear: int | None = None) -> Image.Image:
    """Any Pillow mode as RGB: 16 bits scaled to 8, transparency composited over a background, inks and palettes resolved.

    `clear` is the grey that raw_transparency told. Raises BadImage for pixels that have no agreed white.
    """
    if image.mode == "F":
        raise BadImage("floating-point pixels, which have no agreed white; convert to 8 or 16 bits")
    if clear is not None:
        return _with_clear_grey(image, background, clear)
    if image.mode.startswith("I"):
        eight = _eight_bits(image)
        return (ImageOps.invert(eight) if white_is_zero(image) else eight).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, background), layer).convert("RGB")
    return image.convert("RGB")


def white_is_zero(image: Image.Image) -> bool:
    """Whether a TIFF of 16 bits counts from white to black, as scanners and X-ray plates do: Pillow turns only 8 bits round."""
    return isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(PHOTOMETRIC) == 0


def _with_clear_grey(image: Image.Image, background: RGB, clear: int) -> Image.Image:
    """Pillow compares the transparent grey with pixels of another depth; here both are on the same scale."""
    grey = _eight_bits(image) if image.mode.startswith("I") else image.convert("L")
    values = np.asarray(image if image.mode.startswith("I") else grey)
    pixels = np.repeat(np.asarray(grey)[..., None], 3, axis=-1)
    pixels[values == clear] = background
    return Image.fromarray(pixels)


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise BadImage("32-bit pixels, which have no agreed white; convert to 8 or 16 bits")
    return Image.fromarray(TO_EIGHT[values])
