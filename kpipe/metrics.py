"""What an artifact's metrics.json tells: every number by its dotted path, and the few to show first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kpipe.files import read_json

FILE = "metrics.json"


def read(artifact: Path) -> Any:
    """The content of an artifact's metrics.json, or None where it has none."""
    path = artifact / FILE
    return read_json(path) if path.is_file() else None


def headline(told: Any) -> dict[str, dict[str, Any]]:
    """The metrics to show first: name -> {"value": a number, "better": "higher", "lower" or None}."""
    found = told.get("headline") if isinstance(told, dict) else None
    return {
        str(name): {"value": entry["value"], "better": entry["better"] if entry.get("better") in ("higher", "lower") else None}
        for name, entry in (found.items() if isinstance(found, dict) else ())
        if isinstance(entry, dict) and is_number(entry.get("value"))
    }


def numbers(told: Any) -> dict[str, float]:
    """Every other number: test.per_class.cat.f1, test.accuracy_interval.0."""
    return dict(_leaves({k: v for k, v in told.items() if k != "headline"}, "")) if isinstance(told, dict) else {}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if is_number(value):
        yield path, value
    elif isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(part, f"{path}.{name}" if path else str(name))


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
