"""Sizes, times, counts and names as a person writes and reads them."""

from __future__ import annotations

import re
import sys
from decimal import Decimal

SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
TIMES = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_size(text: str) -> int:
    """Bytes from 500MB or 20GB; ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(B|[kKMGT]B)", parse_name(text))
    if not found:
        raise ValueError(f"{text} is no size: 500MB, 20GB")
    return int(Decimal(found[1]) * SIZES[found[2].replace("K", "k")])


def parse_time(text: str) -> float:
    """Seconds from 90s, 45m, 12h or 30d; ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", parse_name(text))
    if not found:
        raise ValueError(f"{text} is no time: 90s, 45m, 12h, 30d")
    return float(found[1]) * TIMES[found[2]]


def parse_count(text: str) -> int:
    """A whole number of at least 1; ValueError."""
    if not parse_name(text).isdecimal() or not text.strip("0"):
        raise ValueError(f"{text} is no whole number of at least 1")
    return int(text) if len(text) < len(str(sys.maxsize)) else sys.maxsize  # more is as good as that


def parse_name(text: str) -> str:
    """A text that is not empty: a variable that the shell does not know would read as if nothing was asked for; ValueError."""
    if not text:
        raise ValueError("it is empty")
    return text


def size_text(size: int) -> str:
    """1.3 GB."""
    unit = next((u for u in reversed(SIZES) if size >= SIZES[u]), "B")
    return f"{size / SIZES[unit]:.{0 if unit == 'B' else 1}f} {unit}"
