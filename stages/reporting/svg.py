"""Figures as SVG text: the same bytes every time, and a form that follows the theme of the page it stands in."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.figure import Figure

from stages.reporting.palette import INK, MUTED, RULE, variables

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


def render(drawing: Figure) -> str:
    """The figure as SVG text without dates, so that the same data gives the same bytes."""
    buffer = io.StringIO()
    drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return buffer.getvalue()


def inline(svg: str, name: str) -> str:
    """The SVG element for an HTML page: colours become CSS variables, ids are unique in the page.

    The page says in words what the figure shows, so the element itself is hidden from screen readers.
    """
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    for variable, (light, _) in variables().items():
        element = element.replace(light, f"var({variable})")
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', element))
    element = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", element)
    element = re.sub(r'(url\(|href=")#', rf"\g<1>#{name}-", element)
    return element.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def on_paper(svg: str) -> str:
    """The SVG for a file of its own: on white, since a viewer may show it on anything."""
    start = svg.index(">", svg.index("<svg")) + 1
    return f'{svg[:start]}\n <rect width="100%" height="100%" fill="#ffffff"/>{svg[start:]}'
