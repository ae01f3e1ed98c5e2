"""What is said of a run, from the bytes that it left and the stages that it ran."""

from __future__ import annotations

from tests.benchmarks.faults.trial import Said, Trial, page_of

RIGHT = "right"
STALE = "**stale**"
REFUSED = "refused before it runs"


def judge(trial: Trial, said: Said, expected: str) -> str:
    """Whether the page is what it is to be after a run."""
    if trial.page() == expected:
        return RIGHT
    if said.code:
        return f"**stops** with exit code {said.code}"
    return "**wrong**" if trial.ran("join") or trial.ran("report") else STALE


def judge_rerun(trial: Trial, stage: str) -> str:
    """Whether the next run leaves a stage alone that has nothing to do."""
    said = trial.run()
    if said.code or trial.page() != page_of():
        return f"**stops** with exit code {said.code}"
    return "needless rerun" if trial.ran(stage) else RIGHT
