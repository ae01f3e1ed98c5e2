"""Why a file gives no picture, in a few words."""

from __future__ import annotations

from pathlib import Path

SIGNATURES = (  # what a file that is no readable image begins with, after white space -> what to call it
    (b"<!doctype html", "an HTML page, not an image"),
    (b"<html", "an HTML page, not an image"),
    (b"<svg", "an SVG drawing, not pixels"),
    (b"<?xml", "an XML document, not an image"),
    (b"%pdf", "a PDF document, not an image"),
    (b"pk\x03\x04", "a ZIP archive, not an image"),
    (b"\xff\xd8", "a JPEG file with a damaged header"),
    (b"\x89png", "a PNG file with a damaged header"),
    (b"gif8", "a GIF file with a damaged header"),
)
OTHER_KINDS = ((b"8BPS", "a Photoshop document"), (b"\xff\x0a", "JPEG XL"), (b"\x00\x00\x00\x0cJXL ", "JPEG XL"))


class BadImage(Exception):
    """A file that gives no picture; the message is the reason in a few words, without the file's name."""


class NotAnImage(BadImage):
    """A file whose content is no image at all."""


class Unreadable(BadImage):
    """A file the file system did not hand out: says nothing about its content."""


def unidentified(path: Path) -> BadImage:
    """What to call a file in which Pillow found no image."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return BadImage("empty file")
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"):
        return BadImage("HEIC, which is not supported; convert it to JPEG")
    if kind := next((kind for magic, kind in OTHER_KINDS if start.startswith(magic)), ""):
        return BadImage(f"{kind}, which is not supported; convert it to JPEG")
    words = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for signature, name in SIGNATURES:
        if words.startswith(signature):
            return BadImage(name) if "damaged" in name else NotAnImage(name)
    return NotAnImage("not an image")


def explained(error: Exception) -> BadImage:
    """A decoder's error in a few words; a path in it would make the audit differ from machine to machine."""
    if isinstance(error, OSError) and error.errno is not None:
        return Unreadable((error.strerror or "unreadable").lower())
    text = str(error).lower()
    if "truncated" in text or isinstance(error, EOFError):
        return BadImage("truncated")
    return BadImage(f"damaged ({text})" if text else "damaged")
