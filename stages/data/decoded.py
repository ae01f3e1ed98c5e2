"""Decoded files, kept by content: a file is decoded once for a size and a resize policy, wherever it lies."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage, StageError
from stages import disk
from stages.data.bad_images import BadImage, NotAnImage, Unreadable, explained
from stages.data.images import Look, prepare
from stages.data.rows import Rows

PART = 16  # files that a thread takes at a time
HINT = "free some space, or set a smaller stages.ingest.params.image_size"
In = TypeVar("In")
Out = TypeVar("Out")


class Decoded:
    """What the memo's parts hold: facts[hash] of every file ever decoded, and the pixels of those that are images.

    Facts are {"row", "width", "height", "mode", "format"} or {"reason", "image": whether it is a damaged image}.
    """

    def __init__(self, parts: Iterable[Path]) -> None:
        self.facts: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, Rows] = {}
        for part in parts:
            index = json.loads((part / "index.json").read_text(), object_hook=shared)
            self.facts.update(index)
            self._rows.update(dict.fromkeys(index, Rows.of(part / "images.npy")))

    def pixels(self, content: str) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of the file with this hash."""
        pixels: NDArray[np.uint8] = self._rows[content][[self.facts[content]["row"]]][0]
        return pixels


def shared(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of one file, with the words that all files have in common kept once."""
    return {name: sys.intern(value) if isinstance(value, str) else value for name, value in facts.items()}


def decode(stage: Stage, files: Mapping[str, Path], look: Look) -> Decoded:
    """Decode what the memo does not hold yet; `files` maps content hashes to files.

    Raises StageError where a file changed since it was hashed.
    """
    with stage.memo("decoded", size=list(look.size), resize=look.resize, background=list(look.background)) as memo:
        known = Decoded(memo.parts)
        missing = {content: path for content, path in files.items() if content not in known.facts}
        if missing:
            with memo.new_part() as folder:
                _decode_into(folder, stage, missing, look)
            known = Decoded(memo.parts)
    return known


def _decode_into(folder: Path, stage: Stage, files: Mapping[str, Path], look: Look) -> None:
    shape = (len(files), *look.size, 3)
    images = disk.RowFile(disk.new_array(folder / "images.npy", np.uint8, shape, f"{len(files):,} decoded images", HINT))

    def one(numbered: tuple[int, tuple[str, Path]]) -> dict[str, Any] | None:
        row, (content, path) = numbered
        try:
            facts = {"row": row, **_decode_one(path, images, row, look)}
            if content_hash(path) != content:
                raise StageError(f"{path.name} changed while it was read", hint="run again when nothing writes to the folder")
        except Unreadable:  # not remembered: it says nothing about the content
            return None
        return facts

    facts = threaded(stage, one, list(enumerate(files.items())), doing="decoding")
    images.close()
    index = {content: found for content, found in zip(files, facts, strict=True) if found is not None}
    (folder / "index.json").write_text(json.dumps(index, indent=0))


def _decode_one(path: Path, images: disk.RowFile, row: int, look: Look) -> dict[str, Any]:
    """Facts of one file; its pixels become a row of `images`."""
    try:
        picture = prepare(path, look.size, look.resize, look.background)
    except Unreadable:
        raise
    except BadImage as e:
        return {"reason": str(e), "image": not isinstance(e, NotAnImage)}
    images[row] = picture.pixels
    return {"width": picture.width, "height": picture.height, "mode": picture.mode, "format": picture.format}


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits; Unreadable where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise explained(e) from None


def threaded(stage: Stage, function: Callable[[In], Out], items: Sequence[In], doing: str) -> list[Out]:
    """function(item) of all items, in order, on all cores; Pillow and hashlib release the GIL. `doing` is told as progress."""
    results: list[Out] = []
    began = time.perf_counter()
    parts = [items[start : start + PART] for start in range(0, len(items), PART)]  # a future takes more memory than a result
    step = max(len(parts) // 100, 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(cores) as pool:
        try:
            for done, found in enumerate(pool.map(lambda part: [function(item) for item in part], parts), start=1):
                results += found
                if done % step == 0:
                    rate = len(results) / (time.perf_counter() - began)
                    stage.progress(len(results), len(items), doing=doing, files_per_second=rate)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results


def counted(stage: Stage, items: Sequence[In], doing: str) -> Iterator[In]:
    """The items; what has been taken is told as progress."""
    step = max(len(items) // 100, 1)
    for done, item in enumerate(items, start=1):
        yield item
        if done % step == 0:
            stage.progress(done, len(items), doing=doing)
