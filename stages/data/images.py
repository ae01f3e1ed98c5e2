"""One picture from its file to the pixels a network is given: the only code that decodes or resizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from stages.data.bad_images import BadImage, explained, unidentified
from stages.data.colours import RGB, WHITE, raw_transparency, to_rgb

Resize = Literal["stretch", "crop", "pad"]

# Pillow reads MPO, which many telephones write, as JPEG. Formats that start other programs (EPS) stay out.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM")
PIXEL_CAP = 89_478_485  # Pillow's own limit for decompression bombs: a quarter of a GiB at three bytes a pixel
UPRIGHT = {  # EXIF orientation -> what turns the stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Look:
    """How pictures are prepared: the same for training, evaluation and prediction."""

    size: tuple[int, int]  # height, width
    resize: Resize = "stretch"
    background: RGB = WHITE  # what transparency is composited over


@dataclass(frozen=True)
class Picture:
    """A prepared picture and what its file held."""

    pixels: NDArray[np.uint8]  # (H, W, 3), RGB, 0..255
    width: int  # of the file's picture, upright
    height: int
    mode: str  # Pillow's name: RGB, L, CMYK, ...
    format: str  # Pillow's name: JPEG, PNG, ...


def prepare(path: Path, size: tuple[int, int], resize: Resize, background: RGB = WHITE) -> Picture:
    """The picture in a file as a network is given it, at `size` = (height, width). The content decides, not the suffix.

    Upright by its EXIF orientation, transparency over `background`, 16 bits scaled to 8, the first frame of an animation.
    A large JPEG is decoded at reduced size: less than one level of 255 away on average in photographs, 1.2 in pure noise.
    Raises BadImage with the reason: no image, damaged, truncated, or above PIXEL_CAP.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return _prepare(image, size, resize, background)
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise unidentified(path) from None
    except Image.DecompressionBombError:
        raise BadImage(f"more pixels than the cap of {PIXEL_CAP:,}") from None
    except MemoryError:  # of this machine now, not of the file
        raise
    except Exception as e:  # Pillow's decoders let SyntaxError, struct.error, IndexError and more out of damaged files
        raise explained(e) from None


def recognised(path: Path) -> bool:
    """Whether a file begins as an image does, whatever its name; nothing is decoded."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except Image.DecompressionBombError:
        return True
    except Exception:  # as in `prepare`
        return False


def _prepare(image: Image.Image, size: tuple[int, int], resize: Resize, background: RGB) -> Picture:
    width, height = image.size
    if width * height > PIXEL_CAP:
        raise BadImage(f"{width} x {height} pixels, more than the cap of {PIXEL_CAP:,}")
    mode, kind = image.mode, image.format or ""
    clear = raw_transparency(image)
    # A large JPEG is decoded at 1/2, 1/4 or 1/8 where twice the asked size remains (as Pillow's reducing_gap=2.0).
    image.draft(None, (2 * max(size), 2 * max(size)))
    image.load()
    orientation = _orientation(image)  # Pillow turns a TIFF while it loads it, and tells its upright size before
    upright = to_rgb(image, background, clear)
    if orientation in UPRIGHT:
        upright = upright.transpose(UPRIGHT[orientation])
    if orientation >= 5:
        width, height = height, width
    return Picture(np.asarray(fit(upright, size, resize)), width, height, mode, kind)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing about the pixels
        return 1


def fit(image: Image.Image, size: tuple[int, int], resize: Resize) -> Image.Image:
    """An RGB image at `size` = (height, width), bilinear with antialiasing as Pillow does it.

    "stretch" ignores the aspect ratio (as keras.utils.load_img does), "crop" keeps the largest centred part of the asked
    ratio, "pad" keeps the whole picture between black bars.
    """
    height, width = size
    bilinear = Image.Resampling.BILINEAR
    if resize == "stretch":
        return image.resize((width, height), bilinear)
    ratios = (width / image.width, height / image.height)
    scale = max(ratios) if resize == "crop" else min(ratios)
    if resize == "crop":
        left, top = (image.width - width / scale) / 2, (image.height - height / scale) / 2
        box = (max(left, 0.0), max(top, 0.0), min(image.width - left, image.width), min(image.height - top, image.height))
        return image.resize((width, height), bilinear, box=box)
    inner = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    canvas = Image.new("RGB", (width, height))
    canvas.paste(image.resize(inner, bilinear), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas
