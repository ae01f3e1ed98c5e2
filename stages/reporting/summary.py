"""The verdict and the BatchNorm story in sentences."""

from __future__ import annotations

from stages.reporting.results import Result
from stages.reporting.tables import Reestimation
from stages.reporting.verdict import Comparison, Verdict, beats_majority
from stages.reporting.wording import count, decimals, difference, fixed, listing, p_value, plural, span

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
            return f"{chosen.name} reaches a test accuracy of {accuracy(chosen, 'test')}."


def sentences(verdict: Verdict) -> list[str]:
    """What the verdict rests on: the choice, the test, the paired comparisons, the baseline."""
    chosen = verdict.chosen
    contenders = [chosen, *(rival.second for rival in verdict.rivals)]
    validation, test = (
        "; ".join(f"{result.name} {accuracy(result, split)}" for result in contenders) for split in ("validation", "test")
    )
    return [
        f"Chosen on {images(contenders, 'validation')}: {validation}.",
        f"Told on {images(contenders, 'test')} that had no part in any choice: {test}.",
        *(comparison(rival, len(verdict.rivals)) for rival in verdict.rivals),
        *baseline(contenders),
    ]


def images(results: list[Result], split: str) -> str:
    """`270 test images`, `270 and 300 test images`: how many images of a split these branches have."""
    numbers = list(dict.fromkeys(result.metrics[split]["images"] for result in results))
    return plural(numbers[0], f"{split} image") if len(numbers) == 1 else f"{listing(list(map(count, numbers)))} {split} images"


def comparison(rival: Comparison, pairs: int = 1) -> str:
    """One paired comparison, with its interval and what McNemar's test says."""
    corrected = f", corrected for {pairs} comparisons" if pairs > 1 else ""
    meaning = "a difference" if rival.shown else "no difference that this test set can show"
    return (
        f"On the same {plural(rival.images, 'test image')} {rival.first.name} alone was right on {count(rival.only_first)} and "
        f"{rival.second.name} alone on {count(rival.only_second)}: "
        f"{gap(rival)} in accuracy, {meaning} "
        f"(exact McNemar, {p_value(rival.p)}{corrected})."
    )


def gap(rival: Comparison) -> str:
    """`+0.013 (-0.010 to +0.036)`: the difference of two accuracies with its 95% interval.

    On the same images it is known better than either accuracy: one decimal more.
    """
    return difference(rival.difference, *rival.interval, decimals(rival.images) + 1)


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


def score(result: Result, split: str) -> str:
    """The accuracy on one split."""
    scores = result.metrics[split]
    return fixed(scores["accuracy"], decimals(scores["images"]))


def interval(result: Result, split: str) -> str:
    """The 95% interval of the accuracy on one split."""
    scores = result.metrics[split]
    low, high = scores["accuracy_interval"]
    return span(low, high, decimals(scores["images"]))


def accuracy(result: Result, split: str) -> str:
    """`0.96 (0.93 to 0.98)`: the accuracy on one split with its 95% interval."""
    return f"{score(result, split)} ({interval(result, split)})"


def short(result: Result, *others: Result) -> str:
    """The model alone where it tells the branch from the others, its whole name otherwise."""
    return result.name if any(other.model == result.model for other in others) else result.model


def batchnorm_stories(told: list[Reestimation], verdict: Verdict) -> list[str]:
    """What the BatchNorm statistics did to the branches that the headline names, else to the one they did most to."""
    changed = [one for one in told if abs(one.reestimated - one.moving) >= WORTH_TELLING]
    named = [verdict.chosen, *(rival.second for rival in verdict.rivals)]
    shown = [one for one in changed if one.result in named] or changed[:1]
    stories = [batchnorm_story(one) for one in shown]
    others = len(changed) - len(shown)
    if others:
        more = plural(others, "more branch", "more branches")
        stories.append(f"The same happened in {more}; the learning curves tell all of them.")
    return stories


def batchnorm_story(told: Reestimation) -> str:
    """What the BatchNorm statistics did to one branch."""
    digits = decimals(told.result.metrics["validation"]["images"])
    return (
        f"On the moving statistics {told.result.name} reaches {fixed(told.moving, digits)} on validation (epoch {told.epoch}), "
        f"after re-estimation {fixed(told.reestimated, digits)}. Same weights, same images: only the BatchNorm statistics differ."
    )
