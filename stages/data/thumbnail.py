"""Pictures as a page shows them: small, as JPEG."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONGEST = 96  # pixels of a picture's longer side
QUALITY = 80


def jpeg(pixels: NDArray[np.uint8]) -> str:
    """A picture (H, W, 3) in base64, made smaller where it is larger than LONGEST."""
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST, LONGEST))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return base64.b64encode(file.getvalue()).decode("ascii")
