"""What a rule found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Effect:
    """What the fix was measured to do."""

    as_configured: float
    with_fix: float
    measure: str  # what the two numbers are


@dataclass(frozen=True)
class Finding:
    """One finding, for the terminal, the report and findings.json."""

    rule: str
    severity: Literal["error", "warning", "note"]
    title: str
    cause: str  # one sentence
    evidence: Mapping[str, float | str | Sequence[float]]
    fix: str | None = None  # a line of the pipeline file
    effect: Effect | None = None
    confidence: float = 1.0  # 0..1

    def to_json(self) -> dict[str, Any]:
        """The finding as plain data."""
        return asdict(self)
