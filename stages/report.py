"""Report: all branches of a run as one self-contained HTML page, one CSV and figures."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from kpipe.stage import Stage, StageError
from stages.reporting import (
    calibration,
    content,
    figures,
    page,
    pairs,
    pareto,
    provenance,
    recipe,
    results,
    svg,
    tables,
    tradeoff,
)
from stages.reporting.content import data_uri
from stages.reporting.results import Result


def run(stage: Stage) -> None:
    """Write report.html, report.csv, pairs.csv where there are pairs, and figures/*.svg from the gathered branches.

    Raises StageError where no branch is complete.
    """
    found, incomplete = results.read_results(stage.branches)
    complete, older = results.up_to_date(found)
    incomplete += older
    if not complete:
        raise StageError(
            "no branch has all that the report shows" + "".join(f"\n  {sentence}" for sentence in incomplete),
            hint=f"the report needs {', '.join(results.NEEDS)}; list them in its needs and see why stages failed",
        )
    table = tables.report_table(complete)
    csv = table.to_csv(index=False, lineterminator="\n")
    (stage.out / "report.csv").write_text(csv, encoding="utf-8")
    compared = pairs.compared(complete)
    if compared.csv:
        (stage.out / "pairs.csv").write_text(compared.csv, encoding="utf-8")
    html = page.render(
        stage,
        csv=data_uri("text/csv;charset=utf-8", csv.encode("utf-8")),
        missing=[*incomplete, *(f"{label}: excluded, or not in this run" for label in absent(complete, stage))],
        drawings=draw(complete, stage.out / "figures"),
        **content.comparison(complete),
        compared=compared,
        pairs_csv=data_uri("text/csv;charset=utf-8", compared.csv.encode("utf-8")) if compared.in_the_page else None,
        **content.origins(complete),
    )
    (stage.out / "report.html").write_text(html, encoding="utf-8", newline="\n")


def draw(complete: list[Result], folder: Path) -> dict[str, Markup]:
    """Write every figure as a file; return each by name in the form that the page holds."""
    folder.mkdir()
    colors = content.colors_of(complete)
    limit = figures.loss_limit(complete)
    drawn = {"intervals": figures.intervals(complete, colors)}
    drawn |= {told.cost.name: tradeoff.draw(told, colors) for told in pareto.tradeoffs(complete)}
    for result in complete:
        drawn[f"curves-{result.slug}"] = figures.learning_curves(result, colors, limit)
        drawn |= {name: recipe.finder_curve(name, result, phase, colors) for name, phase in recipe.found_rates(result)}
        drawn[f"confusion-{result.slug}"] = figures.confusion(result, colors)
        drawn[f"calibration-{result.slug}"] = calibration.reliability(result, colors)
    for name, text in drawn.items():
        (folder / f"{name}.svg").write_text(svg.on_paper(text), encoding="utf-8", newline="\n")
    return {name: Markup(svg.inline(text, name)) for name, text in drawn.items()}


def absent(complete: list[Result], stage: Stage) -> list[str]:
    """Combinations of axis values that no branch has, complete or not; of several runs each told its own."""
    if len(provenance.runs(complete)) > 1:
        return []
    present = {branch.label for branch in stage.branches}
    return [label for label in tables.missing_combinations(complete) if label not in present]
