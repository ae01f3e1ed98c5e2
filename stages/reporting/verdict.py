"""The verdict by statistics: chosen on validation, told on test, compared on the same images."""

from __future__ import annotations

from dataclasses import dataclass

from stages.reporting.paired import Comparison, adjust, compare
from stages.reporting.results import Result
from stages.reporting.scores import scores
from stages.reporting.seeds import Group, ranked


@dataclass(frozen=True, eq=False)
class Verdict:
    """Who won. `outcome` is one of wins, reversed, tie, single, chance, apart.

    A network that was trained with several seeds is judged by all of them; `chosen` is its training that is best on validation.
    """

    outcome: str
    group: Group
    rivals: list[Comparison]

    @property
    def chosen(self) -> Result:
        """The branch to predict with."""
        return self.group.lead

    @property
    def contenders(self) -> list[Group]:
        """The chosen network and those it is compared with."""
        return [self.group, *(rival.second for rival in self.rivals)]


def against(chosen: Group, others: list[Group]) -> list[Comparison]:
    """The chosen network compared with each of the others that shares test images with it, corrected together."""
    pairs = [compare(chosen, other) for other in others if other.number != chosen.number]
    return adjust([pair for pair in pairs if pair is not None])


def beats_majority(shown: Result | Group) -> bool:
    """Whether the test accuracy lies, with its whole 95% interval, above always answering the most frequent class."""
    test = scores(shown, "test")
    return bool(test["accuracy_interval"][0] > test["majority_accuracy"])


def judge(results: list[Result]) -> Verdict:
    """Choose on validation, tell on test: the best network against the best of every other model.

    With one model only, its best is compared with its second best. A network is a branch, or all those that differ from it in
    the seed of training alone: they are chosen by the mean of their validation accuracies, so that no lucky seed decides.
    """
    chosen, *others = ranked(results)
    best_of_model: dict[str, Group] = {}
    for group in others:
        best_of_model.setdefault(group.model, group)
    candidates = [group for model, group in best_of_model.items() if model != chosen.model] or others[:1]
    rivals = against(chosen, candidates)
    return Verdict(_outcome(chosen, candidates, rivals), chosen, rivals)


def _outcome(chosen: Group, candidates: list[Group], rivals: list[Comparison]) -> str:
    if not any(beats_majority(group) for group in [chosen, *candidates]):
        return "chance"
    if not candidates:
        return "single"
    if len(rivals) < len(candidates):
        return "apart"
    if any(rival.shown and rival.difference < 0 for rival in rivals):
        return "reversed"
    return "wins" if all(rival.shown for rival in rivals) else "tie"
