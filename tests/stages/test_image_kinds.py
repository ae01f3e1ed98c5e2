"""Every kind of picture, against what it must show, computed by hand."""

import os
import struct

import numpy as np
import pytest
from PIL import Image

from kpipe.stage import StageError
from stages.data.bad_images import BadImage
from stages.data.colours import colour
from stages.data.images import prepare
from tests.stages import files_made as made

RAMP = np.linspace(0, 65535, 64).round().astype(np.int64).reshape(8, 8)
EIGHT = (RAMP / 257).round().astype(np.int64)
COLOURS = np.random.default_rng(3).integers(0, 65536, (8, 8, 3))
BACKGROUNDS = [(255, 255, 255), (0, 0, 0), (10, 200, 30)]


def shown(tmp_path, content, background=(255, 255, 255)):
    (tmp_path / "picture").write_bytes(content)
    with Image.open(tmp_path / "picture") as image:
        height, width = image.height, image.width
    return prepare(tmp_path / "picture", (height, width), "stretch", background).pixels.astype(int)


def grey(values):
    return np.repeat(np.asarray(values)[..., None], 3, axis=-1)


def over(pixels, alpha, background):
    """Composited by hand: pixels 0..255, alpha 0..1."""
    return pixels * alpha[..., None] + np.array(background) * (1 - alpha[..., None])


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_png_of_every_depth_spans_black_to_white(tmp_path, depth, interlaced):
    values = RAMP >> (16 - depth)
    found = shown(tmp_path, made.png(values, depth, made.GREY, interlaced=interlaced))
    assert np.abs(found - grey(values * 255 / (2**depth - 1))).max() <= 0.5


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
def test_rgb_png_is_scaled_to_eight_bits(tmp_path, depth, interlaced):
    values = COLOURS >> (16 - depth)
    found = shown(tmp_path, made.png(values, depth, made.RGB, interlaced=interlaced))
    assert np.abs(found - values * 255 / (2**depth - 1)).max() <= 1  # Pillow keeps the upper eight of sixteen bits


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize(("depth", "kind"), [(d, k) for d in (8, 16) for k in (made.GREY_ALPHA, made.RGB_ALPHA)])
def test_alpha_is_composited_over_the_background(tmp_path, depth, kind, background):
    pixels = COLOURS if kind == made.RGB_ALPHA else RAMP[..., None]
    values = np.concatenate([pixels, RAMP.T[..., None]], -1) >> (16 - depth)
    most = 2**depth - 1
    expected = over(np.broadcast_to(values[..., :-1], (8, 8, 3)) * 255 / most, values[..., -1] / most, background)
    assert np.abs(shown(tmp_path, made.png(values, depth, kind), background) - expected).max() <= 2


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png_shows_the_background_at_every_depth(tmp_path, depth, background):
    values, most = RAMP >> (16 - depth), 2**depth - 1
    clear = int(values[3, 4])
    content = made.png(values, depth, made.GREY, chunks=made.chunk(b"tRNS", struct.pack(">H", clear)))
    expected = np.where((values == clear)[..., None], background, grey(values * 255 / most))
    assert np.abs(shown(tmp_path, content, background) - expected).max() <= 0.5


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("alphas", [b"", bytes([0, 128])])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes_with_and_without_transparency(tmp_path, depth, alphas, background):
    values, palette = RAMP >> (16 - depth), np.random.default_rng(1).integers(0, 256, (2**depth, 3))
    chunks = made.chunk(b"PLTE", palette.astype(np.uint8).tobytes()) + (made.chunk(b"tRNS", alphas) if alphas else b"")
    alpha = np.ones(2**depth)
    alpha[: len(alphas)] = np.frombuffer(alphas, np.uint8) / 255
    expected = over(palette[values], alpha[values], background)
    assert np.abs(shown(tmp_path, made.png(values, depth, made.PALETTE, chunks=chunks), background) - expected).max() <= 1


@pytest.mark.parametrize("transform", [0, None])
def test_cmyk_jpeg_is_taken_as_adobe_stores_it_with_and_without_its_marker(tmp_path, transform):
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[...] = (200, 40, 90, 30)
    expected = (255 - inks[0, 0, :3].astype(float)) * (255 - 30) / 255
    assert np.abs(shown(tmp_path, made.jpeg_of_inks(255 - inks, transform))[8, 8] - expected).max() <= 3


def test_ycck_jpeg_of_adobe(tmp_path):
    red, green, blue, black = 180, 60, 90, 25
    cyan, magenta, yellow = 255 - red, 255 - green, 255 - blue
    luma = 0.299 * cyan + 0.587 * magenta + 0.114 * yellow  # JFIF's YCbCr, of the inks: Adobe inverts them twice
    ycc = (luma, 128 + (yellow - luma) / 1.772, 128 + (cyan - luma) / 1.402)
    stored = np.zeros((16, 16, 4), np.uint8)
    stored[...] = np.rint([*ycc, 255 - black])
    expected = np.array([red, green, blue]) * (255 - black) / 255
    assert np.abs(shown(tmp_path, made.jpeg_of_inks(stored, 2))[8, 8] - expected).max() <= 4


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_decodes_as_pillow_does(tmp_path, mode, options):
    image = Image.fromarray(EIGHT.astype(np.uint8)).resize((40, 30), Image.Resampling.BICUBIC).convert(mode)
    content = made.content(image, "JPEG", quality=90, **options)
    found = shown(tmp_path, content)
    with Image.open(tmp_path / "picture") as reference:
        assert (found == np.asarray(reference.convert("RGB"))).all()
    assert np.abs(found - np.asarray(image.convert("RGB"), int)).max() < 20


@pytest.mark.parametrize("turned", [False, True])
def test_tiff_of_sixteen_bits_counts_from_black_or_from_white(tmp_path, turned):
    content = bytearray(made.content(Image.fromarray(RAMP.astype(np.uint16)), "TIFF"))
    at = content.index(struct.pack("<HHI", 262, 3, 1))
    content[at + 8 : at + 10] = struct.pack("<H", 0 if turned else 1)
    expected = EIGHT if not turned else 255 - EIGHT
    assert np.abs(shown(tmp_path, bytes(content)) - grey(expected)).max() <= 1


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA"])
def test_tiff_of_every_mode(tmp_path, mode, compression):
    image = Image.fromarray((COLOURS >> 8).astype(np.uint8)).convert("RGB").convert(mode)
    found = shown(tmp_path, made.content(image, "TIFF", compression=compression))
    assert np.abs(found - np.asarray(image.convert("RGB"), int)).max() <= 1


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "PNG"])
def test_alpha_of_other_formats(tmp_path, kind, background):
    layer = np.concatenate([COLOURS >> 8, EIGHT.T[..., None]], -1).astype(np.uint8)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = shown(tmp_path, made.content(Image.fromarray(layer), kind, **options), background)
    assert np.abs(found - over(layer[..., :3], layer[..., 3] / 255, background)).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_of_several_frames(tmp_path, kind):
    frames = [Image.new("RGB", (9, 7), c) for c in ("lime", "blue", "red")]
    options = {} if kind == "TIFF" else {"duration": 50, "loop": 0}
    lossless = {"lossless": True} if kind == "WEBP" else {}
    content = made.content(frames[0], kind, save_all=True, append_images=frames[1:], **options, **lossless)
    assert (shown(tmp_path, content) == [0, 255, 0]).all()


def test_backgrounds_by_name_and_by_numbers():
    assert colour("white") == (255, 255, 255) and colour("black") == (0, 0, 0) and colour([1, 2, 3]) == (1, 2, 3)
    with pytest.raises(StageError, match="has 2 numbers"):
        colour([1, 2])


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_shrinking_is_antialiased(tmp_path, resize):
    board = np.indices((64, 64)).sum(0) % 2 * 255
    (tmp_path / "a.png").write_bytes(made.content(Image.fromarray(board.astype(np.uint8)), "PNG"))
    found = prepare(tmp_path / "a.png", (8, 8), resize).pixels.astype(int)
    assert np.abs(found - 127.5).max() <= 4


@pytest.mark.parametrize("words", [b"<html><body>404</body></html>", b"just text", b"\0" * 5000, bytes(range(256)) * 9])
def test_no_image_at_all(tmp_path, words):
    (tmp_path / "a.jpg").write_bytes(words)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(BadImage):
        prepare(tmp_path / "a.jpg", (8, 8), "stretch")
    assert not before or len(os.listdir("/proc/self/fd")) == before
