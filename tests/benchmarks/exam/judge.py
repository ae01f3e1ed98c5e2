"""The stage evaluate as far as the exam looks at it: without heat maps and latency, a third of its time."""

from __future__ import annotations

from kpipe.stage import Stage
from stages import evaluate


def run(stage: Stage) -> None:
    """Write predictions.csv, metrics.json and findings.json."""
    evaluate.judge(stage)
