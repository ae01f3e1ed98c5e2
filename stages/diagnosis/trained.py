"""All rules on a trained network: causes first, then symptoms where no cause was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from stages.diagnosis import imbalance, misaligned, not_learning, overfitting, validation_stuck, weights
from stages.diagnosis.finding import Finding
from stages.diagnosis.seen import Seen

Rule = Callable[[Seen], Finding | None]
CAUSES: tuple[Rule, ...] = (misaligned.find, imbalance.find, weights.frozen_moved, weights.unfrozen_stayed)
SYMPTOMS: tuple[Rule, ...] = (validation_stuck.find, validation_stuck.collapse)  # the first of them is enough
EXPLAIN = {  # rules whose errors leave validation at chance
    *("input-scale", "batchnorm-gap", "labels-misaligned", "not-finite"),
    *("learning-rate-high", "learning-rate-low", "random-backbone", "not-learning"),
}
BLAMED = {"input-scale", "augmentation-extreme", "augmentation-too-strong"}  # nothing can be learned
COURSE: tuple[Rule, ...] = (overfitting.find, overfitting.stopped_early, overfitting.unfinished)


def find(seen: Seen, known: Sequence[Finding] = ()) -> list[Finding]:
    """The findings; `known` are those of rules that measure for themselves: a cause among them explains the symptoms."""
    blamed = [finding for finding in known if finding.severity != "note" and finding.rule in BLAMED]
    causes = [*found((partial(not_learning.find, blamed=blamed),), seen), *found(CAUSES, seen)]
    explained = any(
        finding.rule == "imbalance" or (finding.severity == "error" and finding.rule in EXPLAIN) for finding in (*known, *causes)
    )
    return [*causes, *([] if explained else found(SYMPTOMS, seen)[:1]), *found(COURSE, seen)]


def found(rules: Iterable[Rule], seen: Seen) -> list[Finding]:
    """What these rules find."""
    return [finding for rule in rules if (finding := rule(seen))]
