"""The figures as plain text: medians, spreads, targets and ratios."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.timing import Sample

HEAD = ("measured", "size", "peer", "peer takes", "peak", "kpipe takes", "peak", "target", "kpipe/peer")


@dataclass(frozen=True)
class Row:
    """One comparison, or one measurement of kpipe alone."""

    measured: str
    size: str
    kpipe: Sequence[Sample]
    target: str = ""
    peer_name: str = ""
    peer: Sequence[Sample] = ()
    remarks: tuple[str, ...] = ()

    def cells(self) -> tuple[str, ...]:
        """The row as text; the ratio is the median of the rounds' ratios."""
        ratios = [k.seconds / p.seconds for k, p in zip(self.kpipe, self.peer, strict=False)]
        return (
            self.measured,
            self.size,
            self.peer_name or "-",
            seconds(self.peer),
            peak(self.peer),
            seconds(self.kpipe),
            peak(self.kpipe),
            self.target or "-",
            spread(ratios, "{:.2f}") if ratios else "-",
        )


def seconds(samples: Iterable[Sample]) -> str:
    """Median and spread of the time."""
    found = [s.seconds for s in samples]
    return f"{spread(found, '{:.3f}')} s" if found else "-"


def peak(samples: Iterable[Sample]) -> str:
    """The highest peak of memory."""
    found = [s.peak_bytes for s in samples]
    return f"{max(found) / 1e6:.0f} MB" if found else "-"


def rate(name: str, samples: Sequence[Sample], files: int, size: int) -> str:
    """How fast files were read, and on how many cores."""
    time = median(s.seconds for s in samples)
    cores = median(s.cpu_seconds / s.seconds for s in samples)
    return f"{name}: {files / time:,.0f} files/s, {size / time / 1e6:,.0f} MB/s, {cores:.1f} cores"


def spread(values: Sequence[float], form: str) -> str:
    """Median, with the smallest and the largest in brackets where there are several."""
    if len(values) == 1:
        return form.format(values[0])
    return f"{form.format(median(values))} ({form.format(min(values))}..{form.format(max(values))})"


def render(rows: Iterable[Row]) -> str:
    """The table."""
    rows = list(rows)
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    aligned = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    found = [aligned[0], "-" * max(map(len, aligned))]
    for row, line in zip(rows, aligned[1:], strict=True):
        found += [line, *(f"    {remark}" for remark in row.remarks)]
    return "\n".join(found)
