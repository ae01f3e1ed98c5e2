"""One picture from its file to pixels: formats, modes, orientation, damage, resizing."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.data.bad_images import BadImage, NotAnImage, Unreadable
from stages.data.images import PIXEL_CAP, fit, prepare

SHARED = Path(os.environ.get("KPIPE_SHARED", Path(__file__).parents[2].parent / "shared"))
PHOTOGRAPHS = SHARED / "data" / "dogs_vs_cats_small"


def photograph(width=40, height=30, seed=0):
    """A smooth colour picture: survives JPEG with small errors."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([255 * x / width, 255 * y / height, 128 + 0 * x], -1).astype(np.uint8))


def pixels(path, size=(30, 40), resize="stretch"):
    return prepare(path, size, resize).pixels


@pytest.mark.parametrize(
    ("suffix", "kind", "tolerance"),
    [
        ("jpg", "JPEG", 12),
        ("png", "PNG", 0),
        ("gif", "GIF", 40),
        ("bmp", "BMP", 0),
        ("webp", "WEBP", 16),
        ("tif", "TIFF", 0),
        ("ppm", "PPM", 0),
    ],
)
def test_every_format_decodes_to_the_same_rgb_picture(tmp_path, suffix, kind, tolerance):
    original = photograph()
    original.save(tmp_path / f"a.{suffix}", format=kind)
    picture = prepare(tmp_path / f"a.{suffix}", (30, 40), "stretch")
    assert picture.pixels.dtype == np.uint8 and picture.pixels.shape == (30, 40, 3)
    assert np.abs(picture.pixels.astype(int) - np.asarray(original)).max() <= tolerance
    assert (picture.width, picture.height, picture.format) == (40, 30, kind)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPG", "a.txt", "a"])
def test_the_content_decides_not_the_suffix(tmp_path, name):
    photograph().save(tmp_path / name, format="GIF")
    assert prepare(tmp_path / name, (8, 8), "stretch").format == "GIF"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once_and_size_is_the_upright_one(tmp_path, orientation, kind):
    upright = photograph()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a", kind, exif=exif, **({} if kind in ("PNG", "TIFF") else {"quality": 95}))
    picture = prepare(tmp_path / "a", (30, 40), "stretch")
    assert (picture.width, picture.height) == (40, 30)
    assert np.abs(picture.pixels.astype(int) - np.asarray(upright)).max() < 20


def test_damaged_exif_leaves_the_picture_as_stored(tmp_path):
    photograph().save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff garbage")
    assert prepare(tmp_path / "a.jpg", (30, 40), "stretch").width == 40


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_composited_over_white(tmp_path, mode):
    layer = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    layer.putpixel((3, 3), (0, 0, 0, 255))
    layer.convert(mode).save(tmp_path / "a.png")
    found = pixels(tmp_path / "a.png", (8, 8))
    assert found[0, 0].tolist() == [255, 255, 255] and found[3, 3].tolist() == [0, 0, 0]


def test_half_transparent_red_becomes_pink(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert np.abs(pixels(tmp_path / "a.png", (8, 8))[0, 0].astype(int) - [255, 127, 127]).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_transparent_palette_entry_becomes_white(tmp_path, kind):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 0, 200, 10, 10])
    image.putpixel((2, 2), 1)
    image.save(tmp_path / "a", format=kind, transparency=0)
    found = pixels(tmp_path / "a", (8, 8))
    assert found[0, 0].tolist() == [255, 255, 255] and found[2, 2].tolist() == [200, 10, 10]


def test_transparent_colour_of_an_rgb_png_becomes_white(tmp_path):
    image = Image.new("RGB", (8, 8), (1, 2, 3))
    image.putpixel((2, 2), (9, 9, 9))
    image.save(tmp_path / "a.png", transparency=(1, 2, 3))
    found = pixels(tmp_path / "a.png", (8, 8))
    assert found[0, 0].tolist() == [255, 255, 255] and found[2, 2].tolist() == [9, 9, 9]


def test_cmyk_jpeg_is_not_inverted(tmp_path):
    Image.new("RGB", (16, 16), (250, 10, 10)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    picture = prepare(tmp_path / "a.jpg", (8, 8), "stretch")
    assert picture.mode == "CMYK" and np.abs(picture.pixels[4, 4].astype(int) - [250, 10, 10]).max() < 8


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / f"a.{suffix}")
    found = pixels(tmp_path / f"a.{suffix}", (16, 16))
    assert (found == np.arange(256).reshape(16, 16, 1)).all()


@pytest.mark.parametrize(("mode", "value"), [("I", 70000), ("F", 0.5)])
def test_pixels_without_an_agreed_white_are_refused(tmp_path, mode, value):
    Image.new(mode, (8, 8), value).save(tmp_path / "a.tif")
    with pytest.raises(BadImage, match="no agreed white"):
        pixels(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_one_channel_becomes_grey_rgb(tmp_path, mode):
    Image.new("L", (8, 8), 255).convert(mode).save(tmp_path / "a.png")
    assert (pixels(tmp_path / "a.png", (4, 4)) == 255).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(tmp_path, kind):
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "a", format=kind, save_all=True, append_images=frames[1:], lossless=True)
    assert pixels(tmp_path / "a", (8, 8))[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_truncated_file_is_refused(tmp_path, kind, share):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(file, kind)
    (tmp_path / "a").write_bytes(file.getvalue()[: int(len(file.getvalue()) * share)])
    with pytest.raises(BadImage):
        pixels(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "words", "error"),
    [
        (b"", "empty file", BadImage),
        (b"\n<!DOCTYPE html><p>404", "an HTML page", NotAnImage),
        (b"some words", "not an image", NotAnImage),
        (b"\xff\xd8\xff\xe0", "JPEG file with a damaged header", BadImage),
        (b"\x00\x00\x00\x18ftypheic\x00\x00", "HEIC", BadImage),
        (b"\x00\x00\x00\x18ftypheim\x00\x00", "HEIC", BadImage),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL", BadImage),
        (b"8BPS\x00\x01", "Photoshop", BadImage),
    ],
)
def test_the_reason_says_what_the_file_is_instead(tmp_path, content, words, error):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(error, match=words) as caught:
        pixels(tmp_path / "a.jpg")
    assert str(tmp_path) not in str(caught.value)
    assert isinstance(caught.value, NotAnImage) == (error is NotAnImage)


def test_a_missing_file_says_nothing_about_its_content(tmp_path):
    with pytest.raises(Unreadable, match="no such file"):
        pixels(tmp_path / "a.jpg")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [12_000, 20_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, side):
    assert side * side > PIXEL_CAP

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(BadImage, match=f"more .*cap of {PIXEL_CAP:,}"):
        pixels(tmp_path / "a.png")


def test_stretch_is_pillows_bilinear(tmp_path):
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    noise.save(tmp_path / "a.png")
    assert (pixels(tmp_path / "a.png", (150, 150)) == np.asarray(noise.resize((150, 150), Image.Resampling.BILINEAR))).all()


def test_crop_keeps_the_centre_and_the_aspect_ratio():
    image = Image.new("RGB", (30, 10), "red")
    image.paste("blue", (10, 0, 20, 10))
    assert (np.asarray(fit(image, (10, 10), "crop")) == [0, 0, 255]).all()
    assert fit(image.transpose(Image.Transpose.ROTATE_90), (7, 7), "crop").size == (7, 7)


def test_pad_keeps_the_whole_picture_between_black_bars():
    found = np.asarray(fit(Image.new("RGB", (30, 10), "red"), (12, 12), "pad"))
    assert (found[4:8] == [255, 0, 0]).all() and (found[:4] == 0).all() and (found[8:] == 0).all()


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("original", [(1, 1), (1, 500), (333, 7)])
def test_odd_shapes_come_out_at_the_asked_size(resize, original):
    assert fit(Image.new("RGB", original), (20, 30), resize).size == (30, 20)


@pytest.mark.slow
def test_a_large_jpeg_decoded_at_reduced_size_looks_like_the_full_one(tmp_path):
    y, x = np.mgrid[0:1600, 0:1200]
    waves = np.stack([128 + 100 * np.sin(x / 40), 128 + 100 * np.cos(y / 60), 128 + 90 * np.sin((x + y) / 80)], -1)
    Image.fromarray(waves.astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        full = np.asarray(fit(image.convert("RGB"), (150, 150), "stretch")).astype(int)
    picture = prepare(tmp_path / "a.jpg", (150, 150), "stretch")
    assert (picture.width, picture.height) == (1200, 1600)
    assert np.abs(picture.pixels - full).mean() < 1


def test_reduced_decoding_of_pure_noise_stays_within_two_levels(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (1600, 1200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg", quality=90)
    with Image.open(tmp_path / "a.jpg") as image:
        full = np.asarray(fit(image.convert("RGB"), (150, 150), "stretch")).astype(int)
    assert 0 < np.abs(prepare(tmp_path / "a.jpg", (150, 150), "stretch").pixels - full).mean() < 2


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="the shared photographs are not here")
def test_photographs_come_out_as_the_reference_figures_had_them():
    path = sorted((PHOTOGRAPHS / "train" / "cats").iterdir())[0]
    with Image.open(path) as image:
        reference = np.asarray(image.convert("RGB").resize((150, 150), Image.Resampling.BILINEAR))
    assert (pixels(path, (150, 150)) == reference).all()
