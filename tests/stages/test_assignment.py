"""Splits, folds and samples: stratified, seeded, by content, in groups."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import binom

from kpipe.stage import StageError
from stages.data.assignment import How, assign, fold, units
from stages.data.manifest import Item
from stages.data.subset import subset

SHARES = {"validation": 0.15, "test": 0.15}
HOW: tuple[How, ...] = ("stable", "exact")


def item(label: str, content: Any, name: str | None = None, split: str = "", group: str = "") -> Item:
    return Item(
        path=name or f"{label}/{content}", label=label, hash=f"{label}{content}", width=8, height=8, mode="RGB", format="PNG",
        bytes=9, split=split, group=group,
    )  # fmt: skip


def items(**counts: int) -> list[Item]:
    return [item(label, n) for label, total in counts.items() for n in range(total)]


def by_path(found: Sequence[Item]) -> dict[str, str]:
    return {i.path: i.split for i in found}


def counted(found: Sequence[Item]) -> Counter[str]:
    return Counter(i.split for i in found)


def test_exact_shares() -> None:
    found = Counter((i.label, i.split) for i in assign(items(cats=100, dogs=40), SHARES, 0, "exact"))
    assert found == {
        ("cats", "train"): 70, ("cats", "validation"): 15, ("cats", "test"): 15,
        ("dogs", "train"): 28, ("dogs", "validation"): 6, ("dogs", "test"): 6,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_stable_shares_are_off_by_chance_alone(seed: int) -> None:
    found = counted(assign(items(cats=2000), SHARES, seed, "stable"))
    for split in SHARES:
        assert 1e-4 < binom.cdf(found[split], 2000, 0.15) < 1 - 1e-4


def test_an_added_image_moves_no_other() -> None:
    for total in (50, 200):
        before, after = (by_path(assign(items(cats=n, dogs=40), SHARES, 0, "stable")) for n in (total, total + 30))
        assert all(after[path] == split for path, split in before.items())


def test_an_added_image_moves_few_others_where_shares_are_exact() -> None:
    before, after = (by_path(assign(items(cats=n), SHARES, 0, "exact")) for n in (200, 201))
    assert sum(before[path] != after[path] for path in before) <= 2


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("total", range(3, 30))
def test_small_classes_have_at_least_one_image_in_every_split(total: int, how: How) -> None:
    for seed in range(5):
        assert set(counted(assign(items(cats=total), SHARES, seed, how))) == {"train", "validation", "test"}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("total", [1, 2])
def test_fewer_images_than_splits_is_an_error_that_names_class_and_numbers(total: int, how: How) -> None:
    with pytest.raises(
        StageError, match=f"class 'cats' has {total} different image.*too few for train, validation, test"
    ) as caught:
        assign(items(cats=total, dogs=9), SHARES, 0, how)
    assert "it needs 3 at least" in (caught.value.hint or "")


def test_shares_that_leave_no_training_image_are_an_error() -> None:
    with pytest.raises(StageError, match="too few") as caught:
        assign(items(cats=4), {"validation": 0.49, "test": 0.49}, 0, "exact")
    assert "smaller shares: validation = 0.49" in (caught.value.hint or "")


def patients(rare: int) -> list[Item]:
    """Thirty groups of two images that are healthy; so many of them have one more that is not."""
    healthy = [item("healthy", n, group=f"patient {n // 2}") for n in range(60)]
    return healthy + [item("ill", n, group=f"patient {n}") for n in range(rare)]


@pytest.mark.parametrize("seed", range(20))
def test_a_rare_class_that_shares_all_its_groups_is_in_every_split_where_shares_are_exact(seed: int) -> None:
    found = {(i.label, i.split) for i in assign(patients(3), SHARES, seed, "exact")}
    assert found == set(itertools.product(("healthy", "ill"), ("train", "validation", "test")))


@pytest.mark.parametrize("how", HOW)
def test_a_class_that_others_left_without_a_split_is_an_error(how: How) -> None:
    said = []
    for seed in range(100):
        drawn = random.Random(seed)
        groups = {label: drawn.sample(range(5), 3) for label in "abc"}  # of five groups, so that nearly all are shared
        shared = [
            item(label, f"{label}{n}{k}", group=f"g{n}") for label in "abc" for n in groups[label] for k in range(1 + n % 3)
        ]
        try:
            found = {(i.label, i.split) for i in assign(shared, SHARES, seed, how)}
            assert found == set(itertools.product("abc", ("train", "validation", "test")))
        except StageError as e:
            said.append(e)
    assert 0 < len(said) < 100 and all("shares its groups" in e.message and e.hint for e in said)


@pytest.mark.parametrize("how", HOW)
def test_the_seed_decides_and_nothing_else(how: How) -> None:
    data = items(cats=50, dogs=50)
    assert by_path(assign(data, SHARES, 1, how)) == by_path(assign(data[::-1], SHARES, 1, how))
    assert by_path(assign(data, SHARES, 1, how)) != by_path(assign(data, SHARES, 2, how))
    renamed = [item(i.label, i.path.split("/")[1], name=f"{i.label}/z{n}") for n, i in enumerate(data)]
    assert [i.split for i in assign(renamed, SHARES, 1, how)] == [i.split for i in assign(data, SHARES, 1, how)]


@pytest.mark.parametrize("how", HOW)
def test_exact_copies_stay_in_one_split_under_whatever_label(how: How) -> None:
    data = items(cats=40, dogs=40)
    copies = [replace(i, path=f"dogs/copy{n}", label="dogs") for n, i in enumerate(data[:40])]
    splits: dict[str, set[str]] = {}
    for found in assign([*data, *copies], SHARES, 0, how):
        splits.setdefault(found.hash, set()).add(found.split)
    assert all(len(found) == 1 for found in splits.values())


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("large", [17, 8])
def test_a_large_group_trains_where_shares_are_exact(seed: int, large: int) -> None:
    data = [item("cats", n, group=f"g{max(n - large + 1, 0)}") for n in range(20)]
    found = counted(assign(data, SHARES, seed, "exact"))
    assert len(found) == 3 and found["train"] == (17 if large == 17 else 14)


@pytest.mark.parametrize("how", HOW)
def test_no_group_is_in_two_splits(how: How) -> None:
    data = [item(label, n, group=f"patient{n // 7}") for label in ("ill", "well") for n in range(210)]
    found = assign(data, SHARES, 3, how)
    splits: dict[str, set[str]] = {}
    for i in found:
        splits.setdefault(i.group, set()).add(i.split)
    assert all(len(of_group) == 1 for of_group in splits.values()) and len(splits) == 30
    for label in ("ill", "well"):
        assert set(counted([i for i in found if i.label == label])) == {"train", "validation", "test"}
    if how == "exact":
        assert counted(found)["validation"] == pytest.approx(0.15 * 420, abs=14)


def test_units_are_groups_copies_and_what_both_link() -> None:
    data = [
        item("cats", 0), item("cats", 1), item("cats", 2, group="b"), item("dogs", 3, group="a"), item("dogs", 4, group="c"),
        item("dogs", 5), item("dogs", 6, group="a"),
    ]  # fmt: skip
    assert units(data) == ["cats0", "cats1", "group b", "group a", "group c", "dogs5", "group a"]
    copies = [7, 7, 1, 2, 3, 1, 3]  # 0 = 1, 2 = 5, 4 = 6: the last links c to a
    assert units(data, copies) == ["cats0", "cats0", "group b", "group a", "group a", "group b", "group a"]


@pytest.mark.parametrize("how", HOW)
def test_no_copy_tears_groups_apart_and_no_group_copies(how: How) -> None:
    data = [item(label, n, group=f"p{n // 4}" if n % 3 else "") for label in ("ill", "well") for n in range(200)]
    copies = [n // 2 if n % 10 < 2 else 1000 + n for n in range(400)]  # every tenth image has a copy beside it
    held = units(data, copies)
    found = fold(assign(data, {"test": 0.3}, 1, how, held), 2, 1, "exact", held)
    places: dict[object, set[object]] = {}
    for i, number in zip(found, copies, strict=True):
        for name in (number, i.group or number):
            places.setdefault(name, set()).add((i.split, i.fold))
    assert all(len(place) == 1 for place in places.values())
    assert {i.hash for i in found} == {i.hash for i in data} and set(counted(found)) == {"train", "test"}
    apart = assign(data, {"test": 0.3}, 1, how)
    assert any(len({apart[n].split, apart[n + 1].split}) == 2 for n in range(0, 400, 10))  # which it is not by chance


def test_a_group_in_two_given_splits_is_an_error() -> None:
    data = [item("cats", n, split=split, group="p") for n, split in enumerate(("train", "test"))]
    with pytest.raises(StageError, match="group p lies in several splits"):
        assign(data, {}, 0, "stable")


@pytest.mark.parametrize("how", HOW)
def test_given_splits_stay_and_missing_ones_come_from_train(how: How) -> None:
    data = [item("cats", n, split="train") for n in range(20)] + [item("cats", n + 100, split="validation") for n in range(5)]
    found = assign(data, {"test": 0.2}, 0, how)
    assert all(i.split == "validation" for i in found[20:]) and set(counted(found[:20])) == {"train", "test"}
    assert how == "stable" or counted(found) == {"train": 16, "test": 4, "validation": 5}
    assert assign(data, {}, 0, how) == data


@pytest.mark.parametrize("how", HOW)
def test_folds_are_disjoint_and_hold_every_class_and_no_test_image(how: How) -> None:
    data = [*items(cats=100, dogs=60), *(item("cats", f"t{n}", split="test") for n in range(9))]
    found = fold(data, 5, 0, how)
    assert {i.fold for i in found if i.split == "test"} == {-1}
    sizes = Counter((i.label, i.fold) for i in found if i.split != "test")
    assert {place for _, place in sizes} == set(range(5)) and len(sizes) == 10
    if how == "exact":
        assert all(sizes["cats", place] == 20 and sizes["dogs", place] == 12 for place in range(5))


def test_a_group_is_in_one_fold() -> None:
    data = [item(label, n, group=f"p{n % 13}") for label in ("ill", "well") for n in range(130)]
    folds: dict[str, set[int]] = {}
    for i in fold(data, 5, 0, "exact"):
        folds.setdefault(i.group, set()).add(i.fold)
    assert all(len(found) == 1 for found in folds.values()) and len(folds) == 13


def test_an_added_image_moves_no_other_to_another_fold() -> None:
    before, after = ({i.path: i.fold for i in fold(items(cats=n, dogs=90), 5, 0, "stable")} for n in (100, 130))
    assert all(after[path] == place for path, place in before.items())


def test_too_many_folds_for_a_class() -> None:
    with pytest.raises(StageError, match="folds = 5: class 'dogs' has 4 images or groups"):
        fold(items(cats=50, dogs=4), 5, 0, "exact")


@pytest.mark.parametrize("size", [10, 37, 0.25, 0.5, 140])
def test_a_sample_has_every_class_in_its_share(size: float) -> None:
    data = items(cats=100, dogs=40)
    found = subset(data, size, 0)
    total = size if size >= 1 else size * 140
    assert len(found) == pytest.approx(total, abs=0.5)
    assert sum(i.label == "dogs" for i in found) == pytest.approx(total * 40 / 140, abs=1)
    assert [i for i in data if i in found] == found


def test_a_larger_sample_contains_a_smaller_one_and_the_seed_decides() -> None:
    data = items(cats=100, dogs=40)
    samples = [{i.path for i in subset(data, size, 0)} for size in (20, 40, 80)]
    assert all(small < large for small, large in itertools.pairwise(samples))
    assert samples[0] != {i.path for i in subset(data, 20, 1)}


def test_a_sample_of_given_splits_keeps_all_of_them() -> None:
    data = [item(label, f"{split}{n}", split=split) for split in ("train", "test") for label in "ab" for n in range(20)]
    assert Counter((i.split, i.label) for i in subset(data, 8, 0)) == dict.fromkeys(itertools.product(("train", "test"), "ab"), 2)


@pytest.mark.parametrize("size", [1, 141, 0.001])
def test_a_sample_that_cannot_be_drawn(size: float) -> None:
    with pytest.raises(StageError, match="images of 140, in 2 classes"):
        subset(items(cats=100, dogs=40), size, 0)
