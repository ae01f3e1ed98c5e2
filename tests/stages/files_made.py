"""Files of pictures that Pillow cannot write, made byte by byte."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # PNG's colour types
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def scan_lines(values: np.ndarray, depth: int) -> bytes:
    rows = []
    for row in values:
        if depth == 16:
            rows.append(row.astype(">u2").tobytes())
        else:
            bits = np.unpackbits(row.reshape(-1, 1).astype(np.uint8), axis=1)[:, 8 - depth :]
            rows.append(np.packbits(bits.ravel()).tobytes())
    return b"".join(b"\0" + row for row in rows)


def png(values: np.ndarray, depth: int, kind: int, *, interlaced: bool = False, chunks: bytes = b"") -> bytes:
    """A PNG file of values (H, W) or (H, W, channels), 0 <= value < 2 ** depth."""
    height, width = values.shape[:2]
    passes = [values[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [values]
    body = b"".join(scan_lines(p, depth) for p in passes if p.size)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced)))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def jpeg_of_inks(values: np.ndarray, transform: int | None) -> bytes:
    """A JPEG whose four channels (H, W, 4) are stored as they are; `transform` of Adobe's marker: 0 CMYK, 2 YCCK, None no marker."""
    file = io.BytesIO()
    Image.fromarray(255 - values, "CMYK").save(file, "JPEG", quality=100, subsampling=0)  # Pillow inverts, as Adobe does
    content = file.getvalue()
    at = content.index(b"\xff\xee")
    length = struct.unpack(">H", content[at + 2 : at + 4])[0]
    marker = b"" if transform is None else content[at : at + 1 + length] + bytes([transform])
    return content[:at] + marker + content[at + 2 + length :]


def content(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
