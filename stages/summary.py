"""The verdict and the BatchNorm story in sentences."""

from __future__ import annotations

from stages.results import Result
from stages.tables import Reestimation
from stages.verdict import Comparison, Verdict, beats_majority
from stages.wording import count, decimals, difference, estimate, fixed, listing, p_value, plural

WORTH_TELLING = 0.05


def headline(verdict: Verdict) -> str:
    """The verdict in one sentence."""
    chosen, rivals = verdict.chosen, verdict.rivals
    others = listing([short(rival.second, chosen) for rival in rivals]) if rivals else ""
    match verdict.outcome:
        case "wins":
            return f"{short(chosen, *(rival.second for rival in rivals))} wins against {others}."
        case "tie":
            undecided = [short(rival.second, chosen) for rival in rivals if not rival.shown]
            names = listing([short(chosen, *(rival.second for rival in rivals)), *undecided])
            return f"No difference this test set can show between {names}."
        case "reversed":
            better = listing([short(rival.second, chosen) for rival in rivals if rival.shown and rival.difference < 0])
            return f"Validation chose {short(chosen, rivals[0].second)}, but on the test images {better} is better."
        case "chance":
            return "Nothing beats always answering the most frequent class."
        case "apart":
            return f"{chosen.name} is best on validation; the branches share no test images to be compared on."
        case _:
            return f"{chosen.name} classifies {accuracy(chosen, 'test')} of the test images rightly."


def sentences(verdict: Verdict) -> list[str]:
    """What the verdict rests on: the choice, the test, the paired comparison, the baseline."""
    chosen = verdict.chosen
    validation, test = chosen.metrics["validation"], chosen.metrics["test"]
    told = [
        f"Chosen on validation: {chosen.name} names {accuracy(chosen, 'validation')} of {plural(validation['images'], 'image')} rightly"
        + "".join(f", {rival.second.name} {accuracy(rival.second, 'validation')}" for rival in verdict.rivals)
        + ".",
        f"Told on test: {chosen.name} reaches an accuracy of {accuracy(chosen, 'test')} on {plural(test['images'], 'image')} "
        "that had no part in any choice.",
    ]
    told += [comparison(rival, len(verdict.rivals)) for rival in verdict.rivals]
    return [*told, *baseline([chosen, *(rival.second for rival in verdict.rivals)])]


def comparison(rival: Comparison, pairs: int = 1) -> str:
    """One paired comparison, with its interval and what McNemar's test says."""
    corrected = f", corrected for {pairs} comparisons" if pairs > 1 else ""
    meaning = "a difference" if rival.shown else "no difference this test set can show"
    return (
        f"Against {rival.second.name} ({accuracy(rival.second, 'test')} on the same {plural(rival.images, 'image')}): "
        f"{difference(rival.difference, *rival.interval)}. {count(rival.only_first)} only {rival.first.name} got right, "
        f"{count(rival.only_second)} only {rival.second.name}: {meaning} (exact McNemar, {p_value(rival.p)}{corrected})."
    )


def baseline(results: list[Result]) -> list[str]:
    """Which branches are more than the majority class, and which are not."""
    told = []
    above = [result.name for result in results if beats_majority(result)]
    below = [result.name for result in results if not beats_majority(result)]
    majority = fixed(results[0].metrics["test"]["majority_accuracy"], 2)
    if above:
        told.append(f"More than chance: {listing(above)} (always answering the most frequent class would reach {majority}).")
    if below:
        told.append(f"Not more than chance: {listing(below)} (always answering the most frequent class would reach {majority}).")
    return told


def accuracy(result: Result, split: str) -> str:
    """`0.96 (0.93 to 0.98)` of one split."""
    scores = result.metrics[split]
    return estimate(scores["accuracy"], scores["accuracy_interval"])


def short(result: Result, *others: Result) -> str:
    """The model alone where it tells the branch from the others, its whole name otherwise."""
    return result.name if any(other.model == result.model for other in others) else result.model


def batchnorm_story(told: Reestimation) -> str:
    """What the BatchNorm statistics did to one branch."""
    scores = told.result.metrics["validation"]
    digits = decimals(*scores["accuracy_interval"])
    return (
        f"On the moving statistics {told.result.name} reaches {fixed(told.moving, digits)} on validation (epoch {told.epoch}), "
        f"after re-estimation {fixed(told.reestimated, digits)}. Same weights, same images: only the BatchNorm statistics differ."
    )


def worth_telling(told: Reestimation) -> bool:
    """Whether re-estimation changed validation accuracy enough to be told."""
    return abs(told.reestimated - told.moving) >= WORTH_TELLING
