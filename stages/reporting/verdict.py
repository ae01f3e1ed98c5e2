"""The verdict by statistics: chosen on validation, told on test, compared on the same images."""

from __future__ import annotations

from dataclasses import dataclass

from stages.reporting.baseline import beats_majority
from stages.reporting.paired import Comparison, adjust, compare
from stages.reporting.results import Result
from stages.reporting.trainings import Group, ranked


@dataclass(frozen=True, eq=False)
class Verdict:
    """Who won. `outcome` is one of wins, reversed, tie, single, chance, apart.

    A network that was trained several times is judged by all of these; `chosen` is its training that is best on validation.
    `apart` are networks that share no test images with it, so that they cannot be compared; `above` all that beat the majority
    class.
    """

    outcome: str
    group: Group
    rivals: list[Comparison]
    apart: list[Group]
    above: list[Group]

    @property
    def chosen(self) -> Result:
        """The branch to predict with."""
        return self.group.lead

    @property
    def contenders(self) -> list[Group]:
        """The chosen network and those it is, or should be, compared with."""
        return [self.group, *(rival.second for rival in self.rivals), *self.apart]


def against(chosen: Group, others: list[Group]) -> list[Comparison]:
    """The chosen network compared with each of the others that shares test images with it, corrected together."""
    pairs = [compare(chosen, other) for other in others if other.number != chosen.number]
    return adjust([pair for pair in pairs if pair is not None])


def judge(results: list[Result]) -> Verdict:
    """Choose on validation, tell on test: the best network against the best of every other model.

    With one model only, its best is compared with its second best. A network is a branch, or all those that differ from it in
    the seed or fold of training alone: they are chosen by the mean of their validation accuracies, so that no lucky one decides.
    """
    chosen, *others = ranked(results)
    best_of_model: dict[str, Group] = {}
    for group in others:
        best_of_model.setdefault(group.model, group)
    candidates = [group for model, group in best_of_model.items() if model != chosen.model] or others[:1]
    rivals = against(chosen, candidates)
    compared = [rival.second for rival in rivals]
    apart = [group for group in candidates if group not in compared]
    above = [group for group in (chosen, *others) if beats_majority(group)]
    return Verdict(_outcome([chosen, *candidates], rivals, above), chosen, rivals, apart, above)


def _outcome(contenders: list[Group], rivals: list[Comparison], above: list[Group]) -> str:
    if not any(group in above for group in contenders):
        return "chance"
    if not rivals:
        return "apart" if contenders[1:] else "single"
    if any(rival.shown and rival.difference < 0 for rival in rivals):
        return "reversed"
    return "wins" if all(rival.shown for rival in rivals) else "tie"
