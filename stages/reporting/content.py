"""What the page shows, by the names that its templates use."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.reporting import (
    audit,
    backends,
    baseline,
    calibration,
    costs,
    errors,
    numbers,
    palette,
    pareto,
    provenance,
    recipe,
    reproduction,
    same_weights,
    scores,
    summary,
    tables,
    tested,
    verdict,
)
from stages.reporting.palette import Palette
from stages.reporting.results import Result
from stages.reporting.trainings import ranked, repeated


def comparison(complete: list[Result]) -> dict[str, Any]:
    """What the page shows of the branches: the verdict, findings, and tables that set them side by side."""
    judged, networks = verdict.judge(complete), ranked(complete)
    told = tables.reestimations(complete)
    agreements = same_weights.agreements(complete)
    return {
        "title": tables.title(complete),
        "results": complete,
        "palette": colors_of(complete),
        "colors": palette.variables(),
        "verdict": judged,
        "headline": summary.headline(judged),
        "sentences": [*summary.sentences(judged), *tested.sentences(networks, which(complete))],
        "tested_on": tested.number(complete),
        "runs": provenance.runs(complete),
        "stories": summary.batchnorm_stories(told, judged),
        "reestimations": told,
        "findings": tables.findings(complete),
        "comparisons": {pair.second.number: pair for pair in verdict.against(judged.group, networks)},
        "networks": networks,
        "over_trainings": scores.over_trainings,
        "repeated": repeated(networks),
        "beats_majority": baseline.beats_majority,
        "per_class": tables.per_class,
        "confusions": tables.confusions,
        "calibrated": calibration.verdict,
        "f1": tables.f1_by_class(complete),
        "numbers_of": numbers,
        "recipe": recipe,
        "costs": costs,
        "tradeoffs": pareto.tradeoffs(complete),
        "backends": backends.by_backend(complete),
        "disagreement": backends.disagreement,
        "agreements": agreements,
        "agree": same_weights.verdict(agreements) if agreements else "",
        "errors": errors.shown(complete, judged),
    }


def origins(complete: list[Result]) -> dict[str, Any]:
    """What the page shows of where the numbers come from: data, settings, versions, machines, artifacts."""
    again = reproduction.pipeline_file(complete)
    return {
        "which": which(complete),
        "audits": distinct(complete, "ingest"),
        "audit_of": audit.shown,
        "sheets": contact_sheets(complete),
        "settings": provenance.by_stage(provenance.settings(complete)),
        "again": again,
        "again_link": data_uri("application/toml;charset=utf-8", again.encode("utf-8")),
        "determinism": reproduction.determinism(complete),
        "versions": provenance.versions(complete),
        "hardware": provenance.hardware(complete),
        "artifacts": provenance.artifacts(complete),
        "made": provenance.made,
        "notices": provenance.notices(complete),
        "commits": provenance.commits(complete),
    }


def which(complete: list[Result]) -> Callable[[list[int]], str]:
    """What names branches by their numbers."""
    return lambda numbers: provenance.numbers(numbers, len(complete))


def colors_of(complete: list[Result]) -> Palette:
    """A colour for every model, in the order of the branches."""
    return Palette(tuple(dict.fromkeys(result.model for result in complete)))


def distinct(complete: list[Result], need: str) -> list[tuple[Result, list[int]]]:
    """One result for each different artifact of a need, with the numbers of the branches that share it."""
    found: dict[Path, tuple[Result, list[int]]] = {}
    for result in complete:
        found.setdefault(result.folder(need), (result, []))[1].append(result.number)
    return list(found.values())


def contact_sheets(complete: list[Result]) -> list[tuple[Result, list[int], str]]:
    """Each different contact sheet as a data URI, with the branches that it stands for."""
    sheets: dict[str, tuple[Result, list[int], str]] = {}
    for result in complete:
        file = result.folder("preprocess") / "contact_sheet.png"
        if file.is_file():
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            sheets.setdefault(digest, (result, [], data_uri("image/png", content)))[1].append(result.number)
    return list(sheets.values())


def data_uri(kind: str, content: bytes) -> str:
    """The content inside a link, so that the page needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
