"""Figures as SVG text: the same bytes every time, a form that follows the theme of its page, and values under the pointer."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import seaborn as sns
from markupsafe import escape
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from stages.reporting.palette import INK, MUTED, RULE, variables
from stages.reporting.wording import printable

POINTS = 72  # an inch
TAG = r"<[^>]*>"
REACH = 9  # points: the least width and height of a place that the pointer has to meet

STYLE: dict[str, Any] = {
    "axes.edgecolor": MUTED[0],
    "axes.grid": True,
    "axes.labelcolor": MUTED[0],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK[0],
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 9.5,
    "grid.color": RULE[0],
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",  # text stays text: small, selectable, in the reader's font
    "text.color": INK[0],
    "text.parse_math": False,  # a class called $x$ is a name, not a formula
    "xtick.color": MUTED[0],
    "xtick.labelsize": 9,
    "ytick.color": MUTED[0],
    "ytick.labelsize": 9,
}


@contextmanager
def figure(name: str, width: float, height: float) -> Iterator[Figure]:
    """A figure of that size in inches in the report's style; `name` makes the ids inside it its own."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a person's matplotlibrc must not change the bytes
        matplotlib.rcParams.update(sns.axes_style("whitegrid") | STYLE | {"svg.hashsalt": name})
        yield Figure(figsize=(width, height))


@dataclass(frozen=True)
class Reading:
    """A place in a figure and the text that the pointer finds there.

    `x` and `y` are its ends in data coordinates; None: as far as any axes of the figure reach.
    """

    axes: Axes
    text: str
    x: tuple[float, float] | None = None
    y: tuple[float, float] | None = None
    branch: int | None = None  # the number of the branch that it belongs to, in a figure of several


def render(drawing: Figure, readings: Sequence[Reading] = ()) -> str:
    """The figure as SVG text without dates, so that the same data gives the same bytes."""
    buffer = io.StringIO()
    drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    before, end, after = buffer.getvalue().rpartition("</svg>")
    return f"{before}{_places(drawing, readings)}{end}{after}"


def _places(drawing: Figure, readings: Sequence[Reading]) -> str:
    """Rectangles without colour over the drawn figure, each with its text as SVG's title."""
    if not readings:
        return ""
    plots = Bbox.union([axes.get_position() for axes in drawing.axes])
    width, height = POINTS * drawing.get_size_inches()
    lines = ['<g class="readings" fill="none" pointer-events="all">']
    for reading in readings:
        (left, right), (low, high) = (_reach(*ends) for ends in zip(_ends(reading, plots), (width, height), strict=True))
        own = f' data-branches="{reading.branch}"' if reading.branch else ""
        place = f'x="{left:.1f}" y="{height - high:.1f}" width="{right - left:.1f}" height="{high - low:.1f}"'
        lines.append(f" <rect {place}{own}><title>{escape(printable(reading.text))}</title></rect>")
    return "\n".join([*lines, "</g>\n"])


def _ends(reading: Reading, plots: Bbox) -> list[tuple[float, float]]:
    """Horizontal and vertical ends of a place in shares of the figure, inside the axes."""
    x, y = reading.x or reading.axes.get_xlim(), reading.y or reading.axes.get_ylim()
    drawn = reading.axes.transData + reading.axes.figure.transFigure.inverted()
    corners = np.clip(np.sort(drawn.transform(np.column_stack([x, y])), axis=0), plots.min, plots.max)
    corners = np.where([reading.x is None, reading.y is None], [plots.min, plots.max], corners)
    return [(float(low), float(high)) for low, high in corners.T]


def _reach(ends: tuple[float, float], length: float) -> tuple[float, float]:
    """The ends in points, at least REACH apart."""
    low, high = (length * end for end in ends)
    missing = max(REACH - (high - low), 0) / 2
    return low - missing, high + missing


def belong(branch: int, artists: Sequence[Artist], kind: str = "part") -> None:
    """Say that these artists of a figure show the branch of that number alone: the page's filter can hide them.

    A second call for the same branch and figure needs another `kind`.
    """
    for number, artist in enumerate(artists, 1):
        artist.set_gid(f"branch-{branch}-{kind}-{number}")


def inline(svg: str, name: str) -> str:
    """The SVG element for an HTML page: colours become CSS variables, ids are unique in the page.

    The page says in words what the figure shows, so the element itself is hidden from screen readers.
    """
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", element, flags=re.DOTALL)
    element = re.sub(r">\s+<", "><", element)  # half of what a browser would have to keep
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', "".join(re.findall(TAG, element))))
    element = re.sub(TAG, lambda tag: _tag_in_page(tag[0], name, used), element)
    return element.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def _tag_in_page(tag: str, name: str, used: set[str]) -> str:
    """A tag as the page needs it; what stands between tags, names of branches and classes, stays as it is."""
    if tag.startswith("<text "):
        tag = re.sub(r"font-family: [^;\"]*; ", "", tag)  # as the style sheet says
        tag = re.sub(r' transform="rotate\(-0 [^"]*"', "", tag)
    for variable, (light, _) in variables().items():
        tag = tag.replace(light, f"var({variable})")
    tag = re.sub(r' id="branch-(\d+)-\w+-\d+"', r' data-branches="\1"', tag)
    tag = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", tag)
    return re.sub(r'(url\(|href=")#', rf"\g<1>#{name}-", tag)


def on_paper(svg: str) -> str:
    """The SVG for a file of its own: on white, since a viewer may show it on anything."""
    start = svg.index(">", svg.index("<svg")) + 1
    return f'{svg[:start]}\n <rect width="100%" height="100%" fill="#ffffff"/>{svg[start:]}'
