"""Numbers in words: rounded to what their interval supports, with units a person reads."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Any

MINUS = "\N{MINUS SIGN}"


def decimals(images: int) -> int:
    """Decimals that an accuracy measured on so many images supports, by the widest 95% interval it can have, 1/sqrt(images).

    Those of the half-width's first digit, and one more where that digit is 1; at least 2, at most 4. By the number of images
    alone, so that numbers to be compared show the same decimals.
    """
    half = 1 / math.sqrt(images)
    exponent = math.floor(math.log10(half))
    return min(4, max(2, -exponent + int(half < 2.0 * 10.0**exponent)))


def supported(interval: tuple[float, float]) -> int:
    """Decimals that a number with this 95% interval supports: those of the half-width's first digit, one more where that is 1."""
    half = (interval[1] - interval[0]) / 2
    if not half:
        return 4
    exponent = math.floor(math.log10(half))
    return min(5, max(2, -exponent + int(half < 2.0 * 10.0**exponent)))


def between(interval: Sequence[float] | None, digits: int) -> str:
    """` (0.81 to 0.93)`; nothing where there is no interval."""
    return f" ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})" if interval else ""


def fixed(value: float, digits: int) -> str:
    """A number with a real minus sign; a share that is not whole never rounds to 0 or 1."""
    while digits < 6 and 0 < abs(value) < 1 and float(f"{abs(value):.{digits}f}") in (0.0, 1.0):
        digits += 1
    return f"{value:.{digits}f}".replace("-", MINUS)


def tiny(value: float) -> str:
    """A distance that may be next to nothing, in two digits: `0`, `2.4e-7`, `0.012`."""
    if not 0 < value < 1e-3:
        return f"{value:.2g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def probability(value: float) -> str:
    """`0.93`; `> 0.99` and `< 0.01` where two digits would make it certain."""
    return "> 0.99" if value >= 0.995 else "< 0.01" if value < 0.005 else f"{value:.2f}"


def span(low: float, high: float, digits: int) -> str:
    """`0.93 to 0.98`."""
    return f"{low:.{digits}f} to {high:.{digits}f}"


def difference(value: float, low: float, high: float, digits: int) -> str:
    """`+0.013 (-0.010 to +0.036)`: a difference with its interval, signs always shown, a limit beside 0 never as 0."""
    while digits < 5 and any(limit and float(f"{limit:.{digits}f}") == 0 for limit in (low, high)):
        digits += 1
    shown = f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
    return shown.replace("-", MINUS)


def signed(value: float, digits: int) -> str:
    """`+0.013`, `-0.013` with a real minus sign, `0.000` where it is 0."""
    return f"{value:+.{digits}f}".replace("-", MINUS) if value else f"{0:.{digits}f}"


def p_value(p: float, name: str = "p") -> str:
    """`p = 0.042`, `p < 0.001`; without a name `0.042`, `< 0.001`."""
    if not name:
        return "< 0.001" if p < 0.001 else f"{p:.{3 if p < 0.1 else 2}f}"
    return f"{name} {'' if p < 0.001 else '= '}{p_value(p, '')}"


def seconds(value: float | None) -> str:
    """`0.8 s`, `42 s`, `3 min 20 s`, `1 h 05 min`."""
    if value is None:
        return "\N{EN DASH}"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def milliseconds(value: float | None) -> str:
    """Seconds as milliseconds with three digits: `0.482 ms`, `12.3 ms`, `1 230 ms`."""
    if value is None:
        return "\N{EN DASH}"
    scaled = value * 1000
    digits = next((digits for digits, limit in ((3, 0.9995), (2, 9.995), (1, 99.95)) if scaled < limit), 0)
    return f"{scaled:.{digits}f} ms" if digits else f"{count(scaled)} ms"


def memory(value: float | None) -> str:
    """Bytes in binary units: `160 KiB`, `512 MiB`, `1.4 GiB`."""
    if value is None:
        return "\N{EN DASH}"
    if value >= 2**30:
        return f"{value / 2**30:.1f} GiB"
    return f"{value / 2**20:.0f} MiB" if value >= 2**20 else f"{value / 2**10:.0f} KiB"


def flops(value: float | None) -> str:
    """Floating-point operations with three digits: `48.0 kFLOP`, `7.71 GFLOP`."""
    if value is None:
        return "\N{EN DASH}"
    exponent = min(max(int(math.log10(max(value, 1) * 1.0005)) // 3, 0), 5)
    scaled = value / 1000**exponent
    digits = 0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2
    return f"{scaled:.{digits}f} {('', 'k', 'M', 'G', 'T', 'P')[exponent]}FLOP"


def count(value: float | None) -> str:
    """Whole numbers in groups of three: `23 587 712` (narrow no-break spaces)."""
    return "\N{EN DASH}" if value is None else f"{round(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def about(number: float) -> str:
    """`about 2 400`, `more than 10 million`: two significant digits, rounded up."""
    if number > 1e7:
        return "more than 10 million"
    step = 10 ** max(len(str(math.ceil(number))) - 2, 0)
    return f"about {count(math.ceil(number / step) * step)}"


def plural(number: int, noun: str, several: str = "") -> str:
    """`1 image`, `270 images`; `several` where the plural does not end in s alone."""
    return f"{count(number)} {noun if number == 1 else several or noun + 's'}"


def listing(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def evidence(value: Any) -> str:
    """A measured value of whatever kind: numbers to four significant digits, lists with commas, text as it is."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {evidence(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(evidence(part) for part in value)
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}".replace("-", MINUS)
    return str(int(value)) if isinstance(value, float) else str(value)


def printable(text: object) -> str:
    """Text from file and class names with control characters shown by their code, so that XML and HTML can hold it.

    Line ends and tabs stay; marks that turn the direction of writing do not (they can make a name look like another).
    """
    return "".join(f"\\u{ord(c):04x}" if _unprintable(c) else c for c in str(text))


def _unprintable(character: str) -> bool:
    turning = "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"
    return turning or (unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t")
