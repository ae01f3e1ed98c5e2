"""A data set in folders: one a class, below train/, validation/ and test/ or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kpipe.stage import Stage, StageError
from stages.data.datasets import DataSet
from stages.data.decoded import content_hash, decode, threaded
from stages.data.files import Candidate, find
from stages.data.images import Resize, Unreadable
from stages.data.manifest import Item
from stages.data.splits import Layout, layout


def read(stage: Stage, folder: Path, size: tuple[int, int], resize: Resize) -> DataSet:
    """The data set below a folder, its files decoded; StageError where its layout is none that a data set has."""
    found = find(folder)
    try:
        how = layout(found.folders)
    except StageError as e:
        raise StageError(f"{folder.name}: {e.message}", hint=e.hint) from None
    placed = [c for c in found.candidates if how.place(c.name)]
    stray = [c for c in found.candidates if not how.place(c.name)]
    hashes = dict(zip((c.name for c in placed), threaded(stage, _hash, placed), strict=True))
    decoded = decode(stage, {h: c.path for c in placed if isinstance(h := hashes[c.name], str)}, size, resize)
    facts = [(c, _facts(decoded.facts, hashes[c.name])) for c in placed]
    failed = [(c, f) for c, f in facts if "reason" in f]
    skipped = [
        *found.unusable,
        *((c.name, f["reason"]) for c, f in failed if f["image"] or c.claims_image),
        *((c.name, "outside the class folders") for c in stray if c.claims_image),
    ]
    others = [c.name for c, f in failed if not (f["image"] or c.claims_image)] + [c.name for c in stray if not c.claims_image]
    return DataSet(
        name=folder.name,
        source=folder.name,
        classes=how.classes,
        items=[_item(c, how, str(hashes[c.name]), f) for c, f in facts if "reason" not in f],
        pixels=lambda item: decoded.pixels(item.hash),
        given=sorted(set(how.splits.values())),
        skipped=sorted(skipped),
        others=sorted(others),
        ignored=found.ignored,
    )


def _hash(candidate: Candidate) -> str | Unreadable:
    try:
        return content_hash(candidate.path)
    except Unreadable as e:
        return e


def _facts(known: dict[str, dict[str, Any]], content: str | Unreadable) -> dict[str, Any]:
    """What decoding found; a file that went away meanwhile is unreadable."""
    if isinstance(content, Unreadable):
        return {"reason": str(content), "image": True}
    return known.get(content, {"reason": "unreadable", "image": True})


def _item(candidate: Candidate, how: Layout, content: str, facts: dict[str, Any]) -> Item:
    split, label = how.place(candidate.name) or ("", "")
    return Item(
        path=candidate.name,
        label=label,
        hash=content,
        width=facts["width"],
        height=facts["height"],
        mode=facts["mode"],
        format=facts["format"],
        bytes=candidate.path.stat().st_size,
        split=split,
    )
