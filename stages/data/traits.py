"""What the prepared pictures look like, in numbers small enough to keep for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 16  # of a thumbnail, in pixels
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of R, G, B (ITU-R BT.601)
BATCH_BYTES = 2**25  # of pictures that are looked at together, as float32


@dataclass(frozen=True)
class Traits:
    """One entry a picture, in the order given; 0.6 kB a picture."""

    thumbs: NDArray[np.float16]  # (N, SIDE, SIDE): luminance averaged over areas, 0..255
    color: NDArray[np.float32]  # (N, 3): mean R, G, B, 0..255
    border: NDArray[np.float32]  # (N, 3): mean R, G, B of the outermost pixels
    sharpness: NDArray[np.float32]  # (N,): variance of the luminance's Laplacian; low where a picture is blurred
    contents: NDArray[np.bytes_]  # (N,): a hash of the pixels

    @property
    def brightness(self) -> NDArray[np.float32]:
        """(N,): mean luminance, 0..255."""
        return self.color @ LUMA

    def of(self, rows: NDArray[np.int64]) -> Traits:
        """Those of some pictures."""
        return replace(self, **{name: values[rows] for name, values in vars(self).items()})


def measure(pictures: Iterable[NDArray[np.uint8]], size: tuple[int, int]) -> Traits:
    """The traits of pictures (H, W, 3), uint8 RGB, all of one `size` = (H, W); a batch of them is in memory at a time."""
    most = max(BATCH_BYTES // (size[0] * size[1] * 3 * 4), 1)
    rows, columns = averaging(size[0], SIDE), averaging(size[1], SIDE)
    parts: dict[str, list[NDArray[Any]]] = {field.name: [] for field in fields(Traits)}
    for batch in _batches(pictures, most):
        for name, values in vars(_measure(batch, rows, columns)).items():
            parts[name].append(values)
    return Traits(**{name: np.concatenate(parts.pop(name)) for name in list(parts)})  # never all twice


def _batches(pictures: Iterable[NDArray[np.uint8]], most: int) -> Iterator[NDArray[np.uint8]]:
    remaining = iter(pictures)
    while batch := list(islice(remaining, most)):
        yield np.stack(batch)


def _measure(pictures: NDArray[np.uint8], rows: NDArray[np.float32], columns: NDArray[np.float32]) -> Traits:
    gray = pictures.astype(np.float32) @ LUMA
    edges = [pictures[:, 0], pictures[:, -1], pictures[:, 1:-1, 0], pictures[:, 1:-1, -1]]
    contents = [hashlib.blake2b(picture.tobytes(), digest_size=16).hexdigest().encode() for picture in pictures]
    return Traits(
        thumbs=(rows @ gray @ columns.T).astype(np.float16),
        color=pictures.mean((1, 2), dtype=np.float32),
        border=np.concatenate(edges, axis=1).mean(1, dtype=np.float32),
        sharpness=laplacian(gray).var((1, 2)),
        contents=np.array(contents),
    )


def averaging(length: int, side: int) -> NDArray[np.float32]:
    """(side, length): row i averages the i-th of `side` equal stretches of a line of `length` pixels."""
    edges = np.linspace(0, length, side + 1)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.clip(overlap, 0, None) * side / length, np.float32)


def laplacian(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, H - 2, W - 2): the four neighbours' sum less four times the pixel, of pictures (N, H, W).

    Its variance as a measure of focus: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy".
    """
    centre = gray[:, 1:-1, 1:-1]
    return gray[:, :-2, 1:-1] + gray[:, 2:, 1:-1] + gray[:, 1:-1, :-2] + gray[:, 1:-1, 2:] - 4 * centre
