"""The colours of the report: one per model in every figure, for light and dark, told apart by the colour-blind."""

from __future__ import annotations

from dataclasses import dataclass

# light and dark value of each; every pair has a contrast of at least 4.5 to its background (WCAG 2.2 AA), and the hues follow
# Okabe & Ito (2008), whose order keeps neighbours apart for all common kinds of colour blindness
SERIES = [
    ("#0067a8", "#5ab4f0"),
    ("#b84a00", "#f39a5b"),
    ("#00785a", "#3fc79a"),
    ("#9c3f77", "#e79bc8"),
    ("#7a5c00", "#e0b93c"),
    ("#5a4fb0", "#a79bf5"),
]
INK = ("#1b1f24", "#e8eaed")
MUTED = ("#59636e", "#a3acb5")
RULE = ("#d5dae0", "#39414a")
MARKERS = ["o", "s", "^", "D", "v", "P"]


@dataclass(frozen=True)
class Palette:
    """Which colour and marker each model has; models beyond the sixth share them again."""

    models: tuple[str, ...]

    def slot(self, model: str) -> int:
        return self.models.index(model) % len(SERIES)

    def color(self, model: str) -> str:
        """The light value, as a figure file shows it."""
        return SERIES[self.slot(model)][0]

    def marker(self, model: str) -> str:
        return MARKERS[self.slot(model)]


def variables() -> dict[str, tuple[str, str]]:
    """CSS variable of every colour that figures use -> its light and dark value."""
    named = {"--ink": INK, "--muted": MUTED, "--rule": RULE}
    return named | {f"--series-{slot + 1}": colors for slot, colors in enumerate(SERIES)}
