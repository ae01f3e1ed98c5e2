"""All rules on a trained network: causes first, then symptoms where no cause was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from stages.diagnosis import dead_units, imbalance, misaligned, not_learning, overfitting, validation_stuck, weights
from stages.diagnosis.finding import Finding
from stages.diagnosis.seen import Seen

Rule = Callable[[Seen], Finding | None]
CAUSES: tuple[Rule, ...] = (misaligned.find, imbalance.find, weights.random_frozen, weights.frozen_moved, weights.unfrozen_stayed)
SYMPTOMS: tuple[Rule, ...] = (validation_stuck.collapse, validation_stuck.find)  # the first of them is enough
EXPLAIN = {  # rules whose errors leave validation at chance
    *("input-scale", "batchnorm-gap", "labels-misaligned", "validation-skew", "softmax-of-one"),
    *("learning-rate-high", "learning-rate-low", "random-backbone", "not-learning", "dead-units", "saturated-outputs"),
}
FOLLOWS = {"learning-rate-low": ("unfreezing-without-effect",)}  # rule -> those that would only say the same
SCALE = "input-scale"
BLAMED = {SCALE, "augmentation-extreme", "augmentation-too-strong"}  # nothing can be learned
COURSE: tuple[Rule, ...] = (overfitting.find, overfitting.stopped_early, overfitting.unfinished)


def find(seen: Seen, known: Sequence[Finding] = ()) -> list[Finding]:
    """The findings; `known` are those of rules that measure for themselves: a cause among them explains the symptoms."""
    blamed = [finding for finding in known if finding.rule in BLAMED and (finding.severity != "note" or finding.rule == SCALE)]
    causes = found((partial(not_learning.find, blamed=blamed),), seen)
    told = {rule for cause in causes for rule in (cause.rule, *FOLLOWS.get(cause.rule, ()))}
    causes += [finding for finding in found(CAUSES, seen) if finding.rule not in told]
    causes += [] if causes or explain(known) else found((dead_units.find,), seen)
    explained = explain((*known, *causes))
    symptoms = [] if explained else found(SYMPTOMS, seen)[:1]
    course = found(COURSE, seen)
    if not (explained or causes or symptoms or any(finding.rule == "overfitting" for finding in course)):
        course += found((overfitting.by_heart,), seen)
    return [*causes, *symptoms, *course]


def explain(findings: Iterable[Finding]) -> bool:
    """Whether one of the findings is a reason for predictions that are all the same, or no better than guesses."""
    return any(found.rule == "imbalance" or (found.severity == "error" and found.rule in EXPLAIN) for found in findings)


def found(rules: Iterable[Rule], seen: Seen) -> list[Finding]:
    """What these rules find."""
    return [finding for rule in rules if (finding := rule(seen))]
