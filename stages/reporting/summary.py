"""The verdict and the BatchNorm story in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from stages.reporting.contrast import comparison, limits
from stages.reporting.results import Result
from stages.reporting.scores import over_trainings, scores
from stages.reporting.tables import Reestimation
from stages.reporting.trainings import Group, repeated
from stages.reporting.two_level import TwoLevel
from stages.reporting.verdict import Verdict
from stages.reporting.wording import count, decimals, fixed, listing, plural, span

WORTH_TELLING = 0.05
UNVARIED = {  # what repeated trainings do not tell
    "seed": "Nothing but the seed was varied: other splits of the data would add to it (Bouthillier et al. 2021).",
    "fold": "Folds share most of their training images: other images would add to it (Bengio & Grandvalet 2004).",
}
UNVARIED["training"] = UNVARIED["fold"]


def headline(verdict: Verdict) -> str:
    """The verdict in one sentence."""
    chosen, rivals = verdict.group, verdict.rivals
    others = listing([short(rival.second, chosen) for rival in rivals]) if rivals else ""
    match verdict.outcome:
        case "wins":
            return f"{short(chosen, *(rival.second for rival in rivals))} wins against {others}."
        case "tie":
            undecided = [rival for rival in rivals if not rival.shown]
            names = listing([short(chosen, *(r.second for r in rivals)), *(short(r.second, chosen) for r in undecided)])
            return f"No difference {limits(undecided)} can show between {names}."
        case "reversed":
            better = listing([short(rival.second, chosen) for rival in rivals if rival.shown and rival.difference < 0])
            return f"Validation chose {short(chosen, rivals[0].second)}, but on the test images {better} is better."
        case "chance":
            return chance(verdict)
        case "apart":
            return f"{chosen.name} is best on validation; the branches share no test images to be compared on."
        case _:
            over = plural(len(chosen.results), chosen.repeated)
            reached = f"mean test accuracy over {over}" if chosen.several else "test accuracy"
            return f"{chosen.name} reaches a {reached} of {accuracy(chosen, 'test')}."


def sentences(verdict: Verdict) -> list[str]:
    """What the verdict rests on: the choice, the test, the seeds, the paired comparisons, the baseline."""
    contenders = verdict.contenders
    validation, test = (
        "; ".join(f"{group.name} {accuracy(group, split)}" for group in contenders) for split in ("validation", "test")
    )
    several = [group for group in contenders if group.several]
    by_mean = f", by the mean over {trainings_of(contenders)}, so that no lucky {repeated(several)} decides" if several else ""
    return [
        f"Chosen on {images(contenders, 'validation')}{by_mean}: {validation}.",
        f"Told on {images(contenders, 'test')} that had no part in any choice: {test}.",
        *([variation(several)] if several else []),
        *(comparison(rival) for rival in verdict.rivals),
        *not_compared(verdict),
        *baseline(verdict),
    ]


def chance(verdict: Verdict) -> str:
    """That the test images do not show the networks of the verdict to be better than the majority class, and which others are."""
    claim = "shown to beat always answering the most frequent class."
    if not verdict.above:
        return f"Nothing is {claim}"
    better = listing([group.name for group in verdict.above])
    return f"Validation chose {verdict.group.name}, but only {better} {'is' if len(verdict.above) == 1 else 'are'} {claim}"


def not_compared(verdict: Verdict) -> list[str]:
    """Which networks share no test images with the chosen one."""
    names = [group.name for group in verdict.apart]
    share = "shares" if len(names) == 1 else "share"
    return [f"{listing(names)} {share} no test images with {verdict.group.name}: not compared."] if names else []


def images(groups: Sequence[Result | Group], split: str) -> str:
    """`270 test images`, `270 and 300 test images`: how many images of a split these networks have."""
    numbers = list(dict.fromkeys(scores(group, split)["images"] for group in groups))
    return plural(numbers[0], f"{split} image") if len(numbers) == 1 else f"{listing(list(map(count, numbers)))} {split} images"


def trainings_of(groups: list[Group]) -> str:
    """`3 seeds each`, `2 to 3 seeds`."""
    numbers, word = sorted({len(group.results) for group in groups}), repeated(groups)
    return f"{plural(numbers[0], word)} each" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} {word}s"


def variation(groups: list[Group]) -> str:
    """How much of what one training reaches is its seed or fold, and how much its test images."""
    told = []
    for group in groups:
        model = over_trainings(group)
        told.append(f"{group.name} {between_trainings(model)} and {between_tests(model)}")
    word = repeated(groups)
    return (
        f"The standard deviation of one training's accuracy between {word}s, apart from that between test sets of this size: "
        f"{'; '.join(told)}. {UNVARIED[word]}"
    )


def between_trainings(model: TwoLevel) -> str:
    """The standard deviation between trainings, where it can be told from what the test images alone would do."""
    return fixed(model.between_seeds, decimals(model.images) + 1) if model.between_seeds else "none seen"


def between_tests(model: TwoLevel) -> str:
    """The standard deviation between test sets of this size."""
    return fixed(model.between_tests, decimals(model.images) + 1)


def baseline(verdict: Verdict) -> list[str]:
    """Which networks are more than the majority class, and which are not."""
    told, groups = [], verdict.contenders
    above = [group.name for group in groups if group in verdict.above]
    below = [group.name for group in groups if group not in verdict.above]
    majority = fixed(scores(groups[0], "test")["majority_accuracy"], 2)
    if above:
        told.append(f"More than chance: {listing(above)} (always answering the most frequent class would reach {majority}).")
    if below:
        told.append(f"Not more than chance: {listing(below)} (always answering the most frequent class would reach {majority}).")
    return told


def score(shown: Result | Group, split: str) -> str:
    """The accuracy on one split."""
    told = scores(shown, split)
    return fixed(told["accuracy"], decimals(told["images"]))


def interval(shown: Result | Group, split: str) -> str:
    """The 95% interval of the accuracy on one split; nothing where there is none."""
    told = scores(shown, split)
    if "accuracy_interval" not in told:
        return ""
    low, high = told["accuracy_interval"]
    return span(low, high, decimals(told["images"]))


def accuracy(shown: Result | Group, split: str) -> str:
    """`0.96 (0.93 to 0.98)`: the accuracy on one split with its 95% interval."""
    ends = interval(shown, split)
    return f"{score(shown, split)} ({ends})" if ends else score(shown, split)


def short(shown: Group, *others: Group) -> str:
    """The model alone where it tells the network from the others, its whole name otherwise."""
    return shown.name if any(other.model == shown.model for other in others) else shown.model


def batchnorm_stories(told: list[Reestimation], verdict: Verdict) -> list[str]:
    """What the BatchNorm statistics did to the branches that the headline names, else to the one they did most to."""
    changed = [one for one in told if abs(one.reestimated - one.moving) >= WORTH_TELLING]
    named = [group.lead for group in verdict.contenders]
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
