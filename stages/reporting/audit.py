"""The audit of a data set with its pictures, for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.reporting.results import Result

PICTURE_CHARACTERS = 1_500_000  # of all pictures on a page, as base64
WORDS = {"same file": "the same file", "same pixels": "the same pixels", "near": "near copy"}


@dataclass
class Album:
    """Pictures by path, as data URIs, as long as there is room for them on the page."""

    pictures: Mapping[str, str]  # path -> JPEG in base64
    room: int  # characters

    def picture(self, path: str) -> str | None:
        """The picture of this path, or None where there is none or no room."""
        content = self.pictures.get(path)
        if content is None or len(content) > self.room:
            return None
        self.room -= len(content)
        return f"data:image/jpeg;base64,{content}"


def shown(result: Result, sharing: int) -> dict[str, Any]:
    """What the page shows beside counts: pairs of copies, outliers, properties that tell the class.

    `sharing` is the number of audits on the page, which share the room for pictures.
    """
    audit = result.read("ingest", "audit.json")
    file = result.folder("ingest") / "pictures.json"
    album = Album(result.read("ingest", "pictures.json") if file.is_file() else {}, PICTURE_CHARACTERS // sharing)
    return {
        "pairs": [pair(told, album) for told in audit["duplicates"].get("shown", [])],
        "dropped": audit["duplicates"].get("dropped", []),
        "outliers": [outliers(name, told, album) for name, told in audit.get("outliers", {}).items() if told["images"]],
        "cues": audit.get("cues", []),
    }


def pair(told: Mapping[str, Any], album: Album) -> dict[str, Any]:
    """Two copies: what they have to do with each other, and for each its path, where it lies, and its picture."""
    kind = WORDS[told["kind"]] + (", mirrored" if told["mirrored"] else "")
    alike = f"{kind}, correlation {told['similarity']:.4f}" if told["kind"] == "near" else kind
    across = len(set(told["splits"])) > 1
    sides = [
        {"path": path, "split": split, "label": label, "picture": album.picture(path)}
        for path, split, label in zip(told["paths"], told["splits"], told["labels"], strict=True)
    ]
    return {"alike": alike, "across": across, "conflicting": len(set(told["labels"])) > 1, "sides": sides}


def outliers(name: str, told: Mapping[str, Any], album: Album) -> dict[str, Any]:
    """One property's most extreme images, each with its picture where there is one."""
    images = [{**image, "picture": album.picture(image["path"])} for image in told["images"]]
    return {"name": name, "unit": told["unit"], "median": told["median"], "total": told["total"], "images": images}
