"""Sample sizes: Connor's formula by hand, and the power that they give when it is tried."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from stages.reporting import power, wording
from stages.reporting.paired import mcnemar
from stages.reporting.two_level import TwoLevel, two_level


def shown(difference: float, discordance: float, images: int) -> float:
    """How often the exact test shows such a difference on so many images."""
    first = (discordance + difference) / 2
    second = discordance - first
    drawn = np.random.default_rng(0).multinomial(images, [first, second, 1 - discordance], 4000)
    return float(np.mean([mcnemar(int(b), int(c)) < 0.05 for b, c, _ in drawn]))


def test_images_needed_are_connors_where_they_are_many() -> None:
    assert power.images_needed(0.03, 0.09) == math.ceil(((1.959964 * 0.3 + 0.841621 * math.sqrt(0.0891)) / 0.03) ** 2) == 783
    assert power.images_needed(-0.03, 0.09) == 783
    assert power.images_needed(0.03, 0.09, 0.05 / 3) > 1000


@pytest.mark.parametrize(("difference", "discordance"), [(0.03, 0.09), (0.01, 0.02), (0.05, 0.3), (0.1, 0.2), (0.3, 0.4)])
def test_as_many_images_as_needed_show_the_difference_four_times_of_five(difference: float, discordance: float) -> None:
    images = power.images_needed(difference, discordance)
    assert shown(difference, discordance, images) == pytest.approx(0.79, abs=0.04)  # of many, a little less


@pytest.mark.parametrize(("discordance", "images"), [(0.05, 1000), (0.3, 5000)])
def test_the_smallest_difference_is_the_one_that_needs_these_images(discordance: float, images: int) -> None:
    difference = power.smallest_difference(discordance, images)
    assert difference
    assert power.images_needed(difference, discordance) in (images, images + 1)


@pytest.mark.parametrize("discordance", [0.0, 0.004])
def test_where_two_hardly_disagree_a_difference_is_shown_that_needs_more_disagreement(discordance: float) -> None:
    difference = power.smallest_difference(discordance, 270)
    assert difference and difference > discordance
    assert shown(difference, difference, 270) == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize(("images", "alpha"), [(1, 0.05), (5, 0.05), (6, 0.05), (8, 0.005), (9, 0.005), (20, 0.05), (270, 0.01)])
def test_the_smallest_difference_on_few_images_is_shown_by_the_exact_test_if_any_is(images: int, alpha: float) -> None:
    def power_of(difference: float) -> float:  # the definition, term by term
        found = np.arange(images + 1)
        shown = binom.pmf(found, images, difference)  # the worse network gets nothing right alone
        return float(sum(share for share, n in zip(shown, found, strict=True) if mcnemar(int(n), 0) < alpha))

    least = power.smallest_difference(0.0, images, alpha)
    assert (least is None) == (mcnemar(images, 0) >= alpha)
    if least:
        assert power_of(least) == pytest.approx(power.POWER, abs=1e-6) and power_of(least - 0.01) < power.POWER


def test_the_power_of_mcnemars_test_is_that_of_its_definition() -> None:
    images, difference, discordance = 25, 0.2, 0.35
    better = (1 + difference / discordance) / 2
    told = 0.0
    for found in range(images + 1):
        for one in range(found + 1):
            if mcnemar(one, found - one) < 0.05:
                told += binom.pmf(found, images, discordance) * binom.pmf(one, found, better)
    assert power.shown(difference, discordance, images) == pytest.approx(told, abs=1e-12)
    assert power.shown(-difference, discordance, images) == power.shown(difference, discordance, images)


def model(mean: float, of_seed: float, of_image: float, of_rest: float, seeds: int = 4, images: int = 100) -> TwoLevel:
    return TwoLevel(mean, seeds, images, of_seed, of_image, of_rest, images * of_seed + of_rest)


def shown_over_seeds(told: TwoLevel, seeds: int, images: int) -> float:
    rng = np.random.default_rng(1)

    def once() -> bool:
        values = told.mean + math.sqrt(told.of_seed) * rng.normal(size=(seeds, 1))
        values = values + math.sqrt(told.of_image) * rng.normal(size=(1, images))
        return two_level(values + math.sqrt(told.of_rest) * rng.normal(size=(seeds, images))).p < 0.05

    return float(np.mean([once() for _ in range(1500)]))


def test_as_many_images_or_seeds_as_needed_show_the_difference_four_times_of_five() -> None:
    told = model(0.03, 0.01**2, 0.05, 0.03, seeds=5)
    images, seeds = power.more_images(told), power.more_seeds(model(0.1, 0.1**2, 0.05, 0.03, seeds=3))
    assert images is not None and seeds is not None
    assert shown_over_seeds(told, 5, images) == pytest.approx(0.8, abs=0.06)
    assert shown_over_seeds(model(0.1, 0.1**2, 0.05, 0.03), seeds, 100) == pytest.approx(0.8, abs=0.06)


def test_where_the_seeds_differ_too_much_no_number_of_images_is_enough() -> None:
    told = model(0.03, 0.05**2, 0.05, 0.03, seeds=3)
    assert power.more_images(told) is None
    assert power.more_seeds(model(0.001, 0.0, 0.05, 0.03)) is None


def test_more_seeds_need_fewer_images() -> None:
    few, many = (power.more_images(model(0.03, 0.01**2, 0.05, 0.03, seeds=seeds)) for seeds in (4, 10))
    assert few is not None and many is not None and few > many


def test_the_smallest_difference_over_seeds_is_shown_four_times_of_five() -> None:
    told = model(0.0, 0.01**2, 0.05, 0.03, seeds=5, images=400)
    least = power.smallest_over_seeds(told)
    assert shown_over_seeds(model(least, 0.01**2, 0.05, 0.03), 5, 400) == pytest.approx(0.8, abs=0.05)


def test_numbers_of_images_are_told_in_two_digits() -> None:
    space = "\N{NARROW NO-BREAK SPACE}"
    assert [wording.about(number) for number in (7, 95, 783, 2351, 2_000_001)] == [
        "about 7", "about 95", "about 790", f"about 2{space}400", f"about 2{space}100{space}000",
    ]  # fmt: skip
    assert wording.about(3e8) == "more than 10 million"
