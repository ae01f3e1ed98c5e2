"""One comparison of two networks in sentences: what was seen, what it shows, and what it would take to show more."""

from __future__ import annotations

from collections.abc import Sequence

from stages.reporting import power
from stages.reporting.paired import ALPHA, Comparison, Difference
from stages.reporting.wording import about, count, decimals, difference, fixed, p_value, plural, supported


def comparison(rival: Comparison) -> str:
    """One paired comparison, with its interval, its test, and where it shows nothing, what would."""
    corrected = f", corrected for {rival.family} comparisons" if rival.family > 1 else ""
    test = f"{rival.repeated}s and images as two levels" if rival.model else "exact McNemar"
    told = (
        f"On the same {plural(rival.images, 'test image')} {rival.first.name} alone was right on "
        f"{right(rival, rival.only_first)} and {rival.second.name} alone on {right(rival, rival.only_second)}"
        f"{trainings(rival)}: {gap(rival)} in accuracy, {meaning(rival)} ({test}, {p_value(rival.p)}{corrected})."
    )
    return told if rival.shown else f"{told} {needed(rival)}"


def trainings(rival: Comparison) -> str:
    """Which trainings a comparison is the mean of; nothing where each has one."""
    if not rival.model:
        return ""
    if not (once := rival.trained_once):
        return f", in the mean of {plural(rival.trainings, rival.repeated)}"
    alone = f"against the only one of {once.name}, whose own {rival.repeated} is not accounted for"
    return f", in the mean of {rival.trainings} trainings {alone}"


def right(rival: Comparison, images: float) -> str:
    """A number of images, with a decimal where it is a mean over trainings."""
    return fixed(images, 1) if rival.model else count(images)


def meaning(rival: Comparison) -> str:
    """What the test says."""
    if rival.shown:
        return "a difference"
    return f"no difference that {limits([rival])} can show"


def limits(rivals: Sequence[Comparison]) -> str:
    """`this test set`, `these seeds and this test set`: what keeps comparisons from showing more."""
    over = next((rival.repeated for rival in rivals if rival.model), "")
    return f"these {over}s and this test set" if over else "this test set"


def gap(rival: Comparison) -> str:
    """`+0.013 (-0.010 to +0.036)`: the difference of two accuracies with its 95% interval.

    On the same images it is known better than either accuracy: one decimal more.
    """
    return difference(rival.difference, *rival.interval, decimals(rival.images) + 1)


def contrast(told: Difference | None) -> str:
    """The difference of a metric with its interval; a dash where there is none."""
    if told is None or told.interval is None:
        return "\N{EN DASH}"
    return difference(told.value, *told.interval, supported(told.interval))


def needed(rival: Comparison) -> str:
    """What would show the difference that was seen; where none was, the difference that would have been shown."""
    level = "the 5% level" + (f" shared by {rival.family} comparisons" if rival.family > 1 else "")
    if not rival.difference:
        if not (difference := smallest(rival)):
            return f"So few test images show no difference, however large (at {level})."
        least = fixed(difference, decimals(rival.images) + 1)
        how = "variances as estimated here" if rival.model else "the two disagreeing as often as here"
        return f"A difference of {least} or more would have been shown (power {power.POWER} at {level}, {how})."
    if not rival.model:
        return (
            f"To show a difference of this size takes {about(images_needed(rival) or 0)} test images (power {power.POWER} at "
            f"{level}, the two disagreeing as often as here; Connor 1987)."
        )
    images, seeds = images_needed(rival), power.more_seeds(rival.model, ALPHA / rival.family)
    ways = [f"{about(images)} test images with {plural(rival.trainings, rival.repeated)}"] if images else []
    if seeds and rival.repeated == "seed":  # of folds no more can be had
        ways += [f"{about(seeds)} seeds with these test images"]
    takes = ", or ".join(ways) or "both more seeds and more test images"
    return f"To show a difference of this size takes {takes} (power {power.POWER} at {level}, variances as estimated here)."


def images_needed(rival: Comparison) -> int | None:
    """Test images that would show the difference that was seen; None where there is none, or no number is enough."""
    if not rival.difference:
        return None
    if rival.model:
        return power.more_images(rival.model, ALPHA / rival.family)
    return power.images_needed(rival.difference, rival.discordance, ALPHA / rival.family)


def images_to_show(rival: Comparison) -> str:
    """`2 400`; a dash where no number of images would show a difference."""
    images = images_needed(rival)
    return about(images).removeprefix("about ") if images else "\N{EN DASH}"


def smallest(rival: Comparison) -> float | None:
    """The smallest difference that so many images and trainings show with power 0.8; None where none is large enough."""
    if rival.model and rival.model.variance:
        return power.smallest_over_seeds(rival.model, ALPHA / rival.family)
    return power.smallest_difference(rival.discordance, rival.images, ALPHA / rival.family)
