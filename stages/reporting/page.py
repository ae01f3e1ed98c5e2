"""The page's templates: one for its frame, one for every section, and what they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from kpipe.stage import Stage
from stages.reporting import summary, wording
from stages.reporting.wording import printable

FILTERS = ("between", "count", "decimals", "evidence", "fixed", "flops", "memory", "p_value", "plural", "probability", "seconds")


def render(stage: Stage, **shown: Any) -> str:
    """The page as HTML, with its style sheet inside."""
    page = environment(files(stage)).get_template("page.html")
    css = stage.resource("templates/page.css").read_text(encoding="utf-8")
    return page.render(css=Markup(css), **shown)


def files(stage: Stage) -> list[Path]:
    """Every template; each is part of the report's code, so each is named here."""
    return [
        stage.resource("templates/page.html"),
        stage.resource("templates/macros.html"),
        stage.resource("templates/verdict.html"),
        stage.resource("templates/findings.html"),
        stage.resource("templates/comparison.html"),
        stage.resource("templates/curves.html"),
        stage.resource("templates/confusion.html"),
        stage.resource("templates/errors.html"),
        stage.resource("templates/calibration.html"),
        stage.resource("templates/data.html"),
        stage.resource("templates/costs.html"),
        stage.resource("templates/backends.html"),
        stage.resource("templates/reproduce.html"),
    ]


def environment(templates: list[Path]) -> Environment:
    """Templates that escape everything and fail on a name that does not exist."""
    page = Environment(
        loader=DictLoader({file.name: file.read_text(encoding="utf-8") for file in templates}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else printable(value),
    )
    page.filters.update(
        {name: getattr(wording, name) for name in FILTERS},
        accuracy=summary.accuracy,
        score=summary.score,
        interval=summary.interval,
        gap=summary.gap,
    )
    return page
