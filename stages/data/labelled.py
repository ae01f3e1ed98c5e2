"""Files whose class is known, decoded: what folders, tables and archives have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage
from stages.data.bad_images import Unreadable
from stages.data.decoded import content_hash, decode, threaded
from stages.data.files import Candidate
from stages.data.images import Look
from stages.data.manifest import Item


@dataclass(frozen=True)
class Labelled:
    """A file that may be an image, and what its source says of it."""

    file: Candidate
    label: str
    split: str = ""  # empty where one is to be drawn
    group: str = ""

    @property
    def name(self) -> str:
        """The file's path, relative to the source."""
        return self.file.name


class Hashed(NamedTuple):
    """What was seen of a file when it was hashed; later it may be gone."""

    content: str  # SHA-256
    bytes: int


@dataclass(frozen=True)
class Decoding:
    """What came of the files."""

    items: Sequence[Item]
    pixels: Callable[[Item], NDArray[np.uint8]]
    skipped: Sequence[tuple[str, str]]  # path, reason: bad images
    others: Sequence[str]  # files that neither are nor claim to be images


def decoded(stage: Stage, files: Sequence[Labelled], look: Look) -> Decoding:
    """Hash and decode the files; StageError where one changes meanwhile."""
    hashes = threaded(stage, _hash, files, doing="hashing")
    readable = {h.content: f.file.path for f, h in zip(files, hashes, strict=True) if isinstance(h, Hashed)}
    known = decode(stage, readable, look)
    facts = [(f, h, _facts(known.facts, h)) for f, h in zip(files, hashes, strict=True)]
    bad = [(f, found) for f, _, found in facts if "reason" in found]
    return Decoding(
        items=[_item(f, h, found) for f, h, found in facts if isinstance(h, Hashed) and "reason" not in found],
        pixels=lambda item: known.pixels(item.hash),
        skipped=[(f.name, found["reason"]) for f, found in bad if found["image"] or f.file.claims_image],
        others=[f.name for f, found in bad if not (found["image"] or f.file.claims_image)],
    )


def _hash(file: Labelled) -> Hashed | Unreadable:
    try:
        return Hashed(content_hash(file.file.path), file.file.path.stat().st_size)
    except Unreadable as e:
        return e
    except OSError as e:  # it went away
        return Unreadable((e.strerror or "unreadable").lower())


def _facts(known: dict[str, dict[str, Any]], file: Hashed | Unreadable) -> dict[str, Any]:
    """What decoding found; a file that went away meanwhile is unreadable."""
    if isinstance(file, Unreadable):
        return {"reason": str(file), "image": True}
    return known.get(file.content, {"reason": "unreadable", "image": True})


def _item(file: Labelled, found: Hashed, facts: dict[str, Any]) -> Item:
    return Item(
        path=file.name,
        label=file.label,
        hash=found.content,
        width=facts["width"],
        height=facts["height"],
        mode=facts["mode"],
        format=facts["format"],
        bytes=found.bytes,
        split=file.split,
        group=file.group,
    )
