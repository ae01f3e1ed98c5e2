"""Activations of a network's frozen part for many images, computed once and stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Memo, Stage, StageError
from stages import disk, json_files
from stages.data.rows import Rows
from stages.network import graph
from stages.network.feed import BATCH, Array, Feed
from stages.network.prefix import Images, Prefix

PART = 256_000_000  # bytes that are committed at a time: what a crash loses, and how much memory they take until then
HINT = 'free some space, or set stages.train.params.activations = "float16", which takes half, or "off"'
ByView = Mapping[int, NDArray[np.int64]]  # rows of images.npy


def feed(stage: Stage, prefix: Prefix) -> Feed:
    """The network above the cut and the stored activations of all images; with no cut, the network and the pixels."""
    if not prefix.cut:
        return Feed(prefix.network, (Rows.of(prefix.images),))
    return Feed(prefix.tail, stored(stage, prefix, Images.all(prefix.images))[0])


def stored(stage: Stage, prefix: Prefix, images: Images, later: Images | None = None) -> dict[int, tuple[Array, ...]]:
    """For each view, the activations at each tensor of the cut; computed where the memo lacks them.

    Who comes while another computes waits. StageError where the disk is too full for them and what is wanted later.
    """
    with stage.memo("activations", **prefix.key, **images.key) as memo:
        if missing := lacking(memo, images):
            fill(stage, prefix, memo, missing, images, later)
        found = {view: parts(memo, view) for view in images.views}
    total = len(Rows.of(images.file))
    return {
        view: tuple(Rows([(part / f"{name}.npy", rows) for part, rows in held], total) for name in prefix.cut)
        for view, held in found.items()
    }


def parts(memo: Memo, view: int) -> list[tuple[Path, NDArray[np.int64]]]:
    """The parts that hold activations of a view, with the rows of each."""
    found = [part for part in memo.parts if json_files.read(part / "part.json")["view"] == view]
    return [(part, np.load(part / "rows.npy")) for part in found]


def lacking(memo: Memo, images: Images) -> dict[int, NDArray[np.int64]]:
    """The rows of each view that no part holds."""
    nothing = np.empty(0, np.int64)
    held = {view: np.concatenate([nothing, *(rows for _, rows in parts(memo, view))]) for view in images.views}
    missing = {view: np.setdiff1d(images.rows, rows) for view, rows in held.items()}
    return {view: rows for view, rows in missing.items() if len(rows)}


def fill(stage: Stage, prefix: Prefix, memo: Memo, missing: ByView, images: Images, later: Images | None) -> None:
    """Compute what is missing and commit it part by part."""
    if prefix.below:
        sources = stored(stage, prefix.below, images, later)
    else:
        refuse_full_disk(stage, prefix, missing, later)
        sources = {view: (images.pixels(view),) for view in missing}
    began, done, total = time.perf_counter(), 0, sum(map(len, missing.values()))
    model, size = prefix.model, max(PART // prefix.bytes // BATCH, 1) * BATCH
    for view, rows in missing.items():
        for some in np.split(rows, range(size, len(rows), size)):
            report = lambda n, before=done: stage.progress(before + n, total, doing="activations")  # noqa: E731
            with memo.new_part() as folder:
                compute(Feed(model, sources[view]), prefix, some, folder, report)
                json_files.write(folder / "part.json", {"view": view})
            done += len(some)
    if not prefix.below:
        told = {"cut": list(prefix.cut), "images": total, "seconds": time.perf_counter() - began}
        stage.measure(prefix_computed=[*stage.measures.get("prefix_computed", []), told])


def compute(below: Feed, prefix: Prefix, rows: NDArray[np.int64], folder: Path, progress: Callable[[int], None]) -> None:
    """Write the rows' numbers, and their activations at each tensor of the cut, as .npy files in `folder`."""
    what, tensors = f"activations of {len(rows):,} images", graph.tensors(prefix.network, prefix.cut)
    files = [
        disk.new_array(folder / f"{name}.npy", prefix.dtype, (len(rows), *tensor.shape[1:]), what, HINT)
        for name, tensor in zip(prefix.cut, tensors, strict=True)
    ]
    done = 0
    for batch in below.outputs(rows, progress):
        for name, file, values in zip(prefix.cut, files, batch, strict=True):
            file[done : done + len(values)] = as_stored(values, prefix.dtype, name)
        done += len(batch[0])
    for file in files:
        file.flush()
    np.save(folder / "rows.npy", rows)


def as_stored(values: NDArray[Any], dtype: str, name: str) -> NDArray[Any]:
    """The values in the type in which they are stored; StageError where one is too large for it."""
    try:
        with np.errstate(over="raise"):
            return values.astype(np.float32, copy=False).astype(dtype, copy=False)
    except FloatingPointError:
        says = f"{name} has activations that are too large for {dtype}"
        raise StageError(says, hint='set stages.train.params.activations = "float32"') from None


def refuse_full_disk(stage: Stage, prefix: Prefix, missing: ByView, later: Images | None) -> None:
    """StageError where these, and those that are wanted later, would not fit on the disk."""
    count = sum(map(len, missing.values()))
    if later:
        with stage.memo("activations", **prefix.key, **later.key) as memo:
            count += sum(map(len, lacking(memo, later).values()))
    disk.refuse_full(stage.out, count * prefix.bytes, f"activations of {count:,} images", HINT)
