"""What a rule found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from kpipe.stage import Stage


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
    evidence: Mapping[str, float | str | Sequence[float] | Sequence[str]]
    fix: str | None = None  # a line of the pipeline file, or some
    effect: Effect | None = None
    confidence: float = 1.0  # 0..1

    def in_a_line(self) -> str:
        """What a terminal shows: severity, title, the line that mends it and what it was measured to do."""
        mended = f"; set {self.fix.replace(chr(10), ', ')}" if self.fix else ""
        if self.effect:
            mended += f" ({self.effect.as_configured:.2f} -> {self.effect.with_fix:.2f}, {self.effect.measure})"
        return f"{self.severity}: {self.title}{mended}"

    def to_json(self) -> dict[str, Any]:
        """The finding as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Finding:
        """What `to_json` told."""
        return cls(**{**told, "effect": Effect(**told["effect"]) if told["effect"] else None})


def say(stage: Stage, findings: Iterable[Finding]) -> None:
    """On the terminal, and again on every cache hit: all but the notes."""
    for finding in findings:
        if finding.severity != "note":
            stage.notice(finding.in_a_line())
