"""What a run of the exam was worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.evaluation.metrics import interval
from tests.benchmarks.exam.cases import Case

HARM = 0.05  # accuracy that a fault costs, at least, to count as one
BACK = 0.05  # accuracy that may be missing after the fix
SERIOUS = ("error", "warning")
FOLLOWS = {  # true as well, where the first is
    "scale": {"not-learning", "validation-at-chance", "one-class", "overfitting", "batchnorm-gap"},
    "weights-scale": {"not-learning", "validation-at-chance", "one-class", "overfitting"},
    "augmentation": {"not-learning"},
    "misaligned": {"overfitting", "validation-at-chance"},
    "leakage": {"overfitting"},
    "label-errors": {"overfitting"},
    "imbalance": {"overfitting", "one-class"},
    "few-test": set[str](),
    "batchnorm": {"one-class", "validation-at-chance"},
    "small-batches": {"batchnorm-gap", "overfitting"},
}


@dataclass(frozen=True)
class Mark:
    """One run."""

    case: Case
    named: bool  # the cause
    others: tuple[str, ...]  # other errors and warnings, but for what follows from the fault
    serious: tuple[str, ...]  # all errors and warnings
    harmless: bool  # the fault cost no accuracy
    restored: bool | None  # None: nothing was named that could be done
    accuracies: tuple[float | None, float | None, float | None]  # as it is, without the fault, with the fix

    @property
    def wrong(self) -> bool:
        """Whether something is not as it should be."""
        if not self.case.fault:
            return bool(self.serious)
        return bool((not self.named and not self.harmless) or self.others or self.restored is False)

    @property
    def kind(self) -> str:
        """What the diagnosis made of it, in a word or two."""
        if not self.case.fault:
            return "false alarm" if self.serious else "silent"
        return "named" if self.named else "harmless" if self.harmless else "missed"

    def line(self) -> str:
        """For a person who looks for the reason."""
        said = ", ".join(self.serious) or "nothing"
        values = " / ".join("-" if value is None else f"{value:.2f}" for value in self.accuracies)
        return f"{self.kind}: {self.case.backend} {self.case.name}: {said}; accuracy, healthy, mended: {values}"


def mark(case: Case, told: Mapping[str, Any]) -> Mark:
    """Judge a run by what was put into it."""
    serious = [finding["rule"] for finding in told["findings"] if finding["severity"] in SERIOUS]
    if told.get("failed"):
        serious += ["learning-rate-high"] if "finite" in told["failed"] else ["failed"]
    named = bool(
        set(case.rules) & {finding["rule"] for finding in told["findings"] if case.note} | set(case.rules) & set(serious)
    )
    healthy, mended = told.get("healthy"), told.get("mended")
    harm = 1.0 if None in (told["accuracy"], healthy) else healthy - told["accuracy"]
    others = [rule for rule in serious if rule not in case.rules and rule not in FOLLOWS.get(case.fault, ())]
    restored = None if mended is None or healthy is None or harm < HARM else mended >= healthy - BACK
    return Mark(
        case=case,
        named=named,
        others=tuple(sorted(set(others))) if case.fault else (),
        serious=tuple(sorted(set(serious))),
        harmless=bool(case.fault) and not case.always and harm < HARM,
        restored=restored,
        accuracies=(told["accuracy"], healthy, mended),
    )


def fix(case: Case, told: Mapping[str, Any]) -> str | None:
    """The line of the pipeline file by which the cause is to be mended."""
    lines = [finding["fix"] for finding in told["findings"] if finding["rule"] in case.rules and finding["fix"]]
    return next((line for line in lines if line.startswith("stages.")), None)


def table(marked: Sequence[Mark]) -> str:
    """A row for each fault, and what healthy runs were told."""
    faulty = [one for one in marked if one.case.fault]
    rows = [
        "| fault | named by | runs | without effect | right cause | missed | another cause beside | restored |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for half in ("declared", "hidden"):
        for name in dict.fromkeys(one.case.fault for one in faulty if one.case.half == half):
            some = [one for one in faulty if one.case.half == half and one.case.fault == name]
            rows.append(f"| {name}, {half} | {', '.join(some[0].case.rules)} | {cells(some)} |")
    rows.append(f"| **all** | | {cells(faulty)} |")
    return "\n".join([*rows, "", healthy([one for one in marked if not one.case.fault])])


def cells(some: Sequence[Mark]) -> str:
    """The numbers of a row."""
    real = [one for one in some if not one.harmless]
    tried = [one for one in real if one.restored is not None]
    return " | ".join([
        str(len(some)),
        str(len(some) - len(real)),
        share(sum(one.named for one in real), len(real)),
        str(sum(not one.named for one in real)),
        str(sum(bool(one.others) for one in some)),
        share(sum(bool(one.restored) for one in tried), len(tried)),
    ])  # fmt: skip


def healthy(some: Sequence[Mark]) -> str:
    """False errors and warnings, with the rules that gave them."""
    wrong = [one for one in some if one.serious]
    lines = [f"Healthy runs: {len(some)}; with a false error or warning: {share(len(wrong), len(some))}"]
    rules: Iterable[str] = dict.fromkeys(rule for one in wrong for rule in one.serious)
    lines += [f"- {rule}: {sum(rule in one.serious for one in wrong)}" for rule in rules]
    return "\n".join(lines)


def share(count: int, of: int) -> str:
    """A count, its share and the share's 95 % interval (Wilson 1927)."""
    if not of:
        return "-"
    low, high = interval(count, of)
    return f"{count} of {of} ({100 * count / of:.0f} %; {100 * low:.0f}-{100 * high:.0f})"
