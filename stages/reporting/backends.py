"""Branches that were trained on several backends, side by side."""

from __future__ import annotations

import json
from typing import Any

from stages.reporting.results import NEEDS, Result
from stages.reporting.same_images import on_same_images


def by_backend(results: list[Result]) -> list[list[Result]]:
    """Branches that differ in nothing but the backend, side by side, whatever runs they are from."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(json.dumps(_but_backend(result), sort_keys=True), []).append(result)
    return [group for group in groups.values() if len({result.backend for result in group}) > 1]


def _but_backend(result: Result) -> dict[str, Any]:
    """All that decided a branch but the backend: its stages' keys, or its axes where these are not known."""
    kept = ("params", "files", "code", "python", "packages")
    keys = {stage: {part: result.key(stage).get(part) for part in kept} for stage in NEEDS if result.key(stage)}
    keras = {stage: result.key(stage).get("keras") or {} for stage in keys}
    versions = {stage: (told.get("packages") or {}).get("keras") for stage, told in keras.items()}
    return {"keys": keys, "keras": versions} if keys else {axis: v for axis, v in result.axes.items() if axis != "backend"}


def disagreement(first: Result, second: Result) -> tuple[int, int]:
    """Test images that two branches name differently, of those that both named."""
    one, other = on_same_images([first, second])
    return int((one["predicted"] != other["predicted"]).sum()), len(one)
