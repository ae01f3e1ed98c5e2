"""The page's templates: one for its frame, one for every section, and what they share."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from kpipe.stage import Stage
from stages.reporting import contrast, scores, summary, wording
from stages.reporting.results import Result
from stages.reporting.wording import printable

FILTERS = (
    *("about", "between", "count", "decimals", "evidence", "fixed", "flops", "memory"),
    *("milliseconds", "p_value", "plural", "probability", "seconds", "tiny"),
)
FEW = 2  # branches that are seen at once, without a filter


def render(stage: Stage, **shown: Any) -> str:
    """The page as HTML, with its style sheet and its script inside; no other script may run there, which the hash says."""
    page = environment(files(stage)).get_template("page.html")
    css = stage.resource("templates/page.css").read_text(encoding="utf-8")
    script = stage.resource("templates/page.js").read_text(encoding="utf-8")
    script_hash = f"sha256-{b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}"
    inside = {"css": Markup(css), "script": Markup(script), "script_hash": script_hash}
    return page.render(**inside, choices=choices(shown["results"]), **shown)


def choices(results: Sequence[Result]) -> dict[str, dict[str, list[int]]]:
    """What the filter offers: axis -> value -> numbers of its branches. Axes with one value, and few branches, need none."""
    offered: dict[str, dict[str, list[int]]] = {}
    for result in results:
        for axis, value in result.axes.items():
            offered.setdefault(axis, {}).setdefault(str(value), []).append(result.number)
    several = {axis: values for axis, values in offered.items() if len(values) > 1}
    return several if len(results) > FEW else {}


def files(stage: Stage) -> list[Path]:
    """Every template; each is part of the report's code, so each is named here."""
    return [
        stage.resource("templates/page.html"),
        stage.resource("templates/macros.html"),
        stage.resource("templates/verdict.html"),
        stage.resource("templates/findings.html"),
        stage.resource("templates/comparison.html"),
        stage.resource("templates/trainings.html"),
        stage.resource("templates/pairs.html"),
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
        scores=scores.scores,
        interval=summary.interval,
        between_trainings=summary.between_trainings,
        between_tests=summary.between_tests,
        contrast=contrast.contrast,
        gap=contrast.gap,
        images_needed=contrast.images_to_show,
        right=contrast.right,
    )
    return page
