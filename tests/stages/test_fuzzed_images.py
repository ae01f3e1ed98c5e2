"""Damaged picture files by the thousand: each gives a picture or a reason, and none costs memory or file descriptors."""

import gc
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from stages.data.bad_images import BadImage
from stages.data.images import prepare
from tests.stages import files_made as made

SEED = 20
GROWTH = 64 * 2**20  # bytes that the allocator may keep
EDGES = [
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x00\x00\x10\x00",
]


def whole_files() -> list[bytes]:
    """One small file of every kind."""
    random = np.random.default_rng(SEED)
    image = Image.fromarray(random.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    clear = Image.fromarray(random.integers(0, 256, (24, 20, 4), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = random.integers(0, 65536, (24, 20, 4))
    frames = {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}
    files = [
        made.content(image, "JPEG"), made.content(image, "JPEG", progressive=True), made.content(image.convert("L"), "JPEG"),
        made.content(image, "JPEG", exif=turned), made.content(image.convert("CMYK"), "JPEG"),
        made.jpeg_of_inks(np.asarray(image.convert("CMYK")), 2),
        made.png(deep, 16, made.RGB_ALPHA), made.png(deep[..., 0], 16, made.GREY, interlaced=True),
        made.png(deep[..., 0] >> 14, 2, made.GREY, chunks=made.chunk(b"tRNS", struct.pack(">H", 1))),
        made.content(image.quantize(16), "PNG", transparency=3), made.content(clear, "PNG"), made.content(image, "PNG", exif=turned),
        made.content(image, "PNG", **frames), made.content(image, "GIF"), made.content(image, "GIF", **frames),
        made.content(image, "BMP"), made.content(image.convert("1"), "BMP"), made.content(clear, "BMP"),
        made.content(image, "WEBP"), made.content(clear, "WEBP", lossless=True), made.content(image, "WEBP", **frames),
        made.content(image, "PPM"), made.content(image.convert("1"), "PPM"),
        *(made.content(image, "TIFF", compression=c) for c in (None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
        made.content(Image.fromarray(deep[..., 0].astype(np.uint16)), "TIFF"), made.content(image, "TIFF", **frames),
        made.content(image.convert("1"), "TIFF", compression="group4"),
    ]  # fmt: skip
    files += [made.content(image, "JPEG2000")] if features.check("jpg_2000") else []
    files += [made.content(image, "AVIF")] if features.check("avif") else []
    return files


def mutated(content: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """The file with one to six faults; most lie near its start, where headers are."""
    data = bytearray(content)
    for _ in range(random.integers(1, 7)):
        near = len(data) if random.random() < 0.5 else min(len(data), 64)
        at = int(random.integers(0, max(near, 1)))
        match random.integers(0, 7):
            case 0:
                data[at : at + 1] = bytes([random.integers(0, 256)])
            case 1:
                edge = EDGES[random.integers(0, len(EDGES))]
                data[at : at + len(edge)] = edge
            case 2:
                del data[at : at + int(random.integers(1, 40))]
            case 3:
                data[at:at] = random.bytes(int(random.integers(1, 40)))
            case 4:
                data[at:at] = data[at : at + int(random.integers(1, 200))]
            case 5:
                del data[max(at, 8) :]
            case _:
                start = int(random.integers(0, len(other)))
                data[at : at + 30] = other[start : start + 30]
    return bytes(data)


def held() -> tuple[int, int]:
    """Open file descriptors and resident bytes of this process."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    return len(os.listdir("/proc/self/fd")), resident


def outcome(path: Path) -> str:
    """What became of one file."""
    try:
        picture = prepare(path, (8, 8), "stretch")
    except BadImage as e:
        assert str(e) and str(path) not in str(e) and len(str(e)) < 300
        return "refused"
    assert picture.pixels.shape == (8, 8, 3) and picture.pixels.dtype == np.uint8
    return "shown"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts what Linux tells")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(850)
@pytest.mark.parametrize("inputs", [600, pytest.param(24_000, marks=pytest.mark.slow)])
def test_damaged_files_give_a_picture_or_a_reason(tmp_path, inputs):
    files, random = whole_files(), np.random.default_rng([SEED, inputs])
    path, seen = tmp_path / "picture", {"shown": 0, "refused": 0}
    for content in files:
        path.write_bytes(content)
        assert outcome(path) == "shown"
    before = held()
    for number in range(inputs):
        content = mutated(files[number % len(files)], files[random.integers(0, len(files))], random)
        path.write_bytes(content)
        try:
            seen[outcome(path)] += 1
        except Exception as e:
            e.add_note(f"input {number}: {content.hex()}")
            raise
    after = held()
    assert after[0] == before[0] and after[1] - before[1] < GROWTH
    assert min(seen.values()) > inputs // 10
