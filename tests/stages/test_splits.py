"""Splits: stratified, seeded, stable by content."""

from collections import Counter

import pytest

from kpipe.stage import StageError
from stages.data.manifest import Item
from stages.data.splits import assign, check_classes, layout

SHARES = {"validation": 0.15, "test": 0.15}


def item(label, content, name=None, split=""):
    return Item(
        path=name or f"{label}/{content}", label=label, hash=f"{label}{content}", width=8, height=8, mode="RGB", format="PNG",
        bytes=9, split=split,
    )  # fmt: skip


def items(**counts):
    return [item(label, n) for label, total in counts.items() for n in range(total)]


def by_path(found):
    return {i.path: i.split for i in found}


def test_every_class_gets_its_shares():
    found = Counter((i.label, i.split) for i in assign(items(cats=100, dogs=40), SHARES, 0))
    assert found == {
        ("cats", "train"): 70, ("cats", "validation"): 15, ("cats", "test"): 15,
        ("dogs", "train"): 28, ("dogs", "validation"): 6, ("dogs", "test"): 6,
    }  # fmt: skip


@pytest.mark.parametrize("total", range(3, 30))
def test_small_classes_have_at_least_one_image_in_every_split(total):
    assert set(Counter(i.split for i in assign(items(cats=total), SHARES, 0))) == {"train", "validation", "test"}


@pytest.mark.parametrize("total", [1, 2])
def test_fewer_images_than_splits_is_an_error_that_names_class_and_numbers(total):
    with pytest.raises(
        StageError, match=f"class 'cats' has {total} different image.*too few for train, validation, test"
    ) as caught:
        assign(items(cats=total, dogs=9), SHARES, 0)
    assert "validation = 0.15" in (caught.value.hint or "")


def test_shares_that_leave_no_training_image_are_an_error():
    with pytest.raises(StageError, match="too few"):
        assign(items(cats=4), {"validation": 0.49, "test": 0.49}, 0)


def test_the_seed_decides_and_nothing_else():
    data = items(cats=50, dogs=50)
    assert by_path(assign(data, SHARES, 1)) == by_path(assign(data[::-1], SHARES, 1))
    assert by_path(assign(data, SHARES, 1)) != by_path(assign(data, SHARES, 2))


def test_names_do_not_matter_only_contents_do():
    renamed = [item(i.label, n, name=f"{i.label}/z{99 - n}") for n, i in enumerate(items(cats=50))]
    assert [i.split for i in assign(renamed, SHARES, 1)] == [i.split for i in assign(items(cats=50), SHARES, 1)]


def test_an_added_image_moves_few_others():
    before, after = by_path(assign(items(cats=200), SHARES, 0)), by_path(assign(items(cats=201), SHARES, 0))
    assert sum(before[path] != after[path] for path in before) <= 2


def test_exact_copies_stay_in_one_split():
    data = items(cats=40) + [item("cats", n, name=f"cats/copy{n}") for n in range(40)]
    found = assign(data, SHARES, 0)
    assert [i.split for i in found[:40]] == [i.split for i in found[40:]]


def test_given_splits_stay_and_missing_ones_come_from_train():
    data = [item("cats", n, split="train") for n in range(20)] + [item("cats", n + 100, split="validation") for n in range(5)]
    found = assign(data, {"test": 0.2}, 0)
    assert Counter(i.split for i in found) == {"train": 16, "test": 4, "validation": 5}
    assert all(i.split == "validation" for i in found[20:])
    assert assign(data, {}, 0) == data


def test_classes_are_in_the_order_of_their_names():
    assert layout(["10", "2", "1"]).classes == ("1", "10", "2")


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (["cats", "dogs"], set()),
        (["train", "bus"], set()),
        (["train", "train/cats", "bus", "bus/old"], set()),
        (["train", "train/cats"], {"train"}),
        (["train", "train/cats", "val", "val/cats"], {"train", "validation"}),
        (["cats", "cats/train", "cats/test", "dogs"], set()),
    ],
)
def test_folders_are_read_as_classes_or_as_splits(folders, splits):
    assert set(layout(folders).splits.values()) == splits


def test_train_and_test_without_classes_are_not_taken_for_classes():
    with pytest.raises(StageError, match="has no class folders"):
        layout(["test", "train"])


def test_files_are_placed_by_their_folders():
    plain, split = layout(["cats", "dogs"]), layout(["train", "train/cats", "train/dogs", "test", "test/cats", "test/dogs"])
    assert plain.place("cats/a/b.jpg") == ("", "cats") and plain.place("b.jpg") is None
    assert split.place("test/cats/b.jpg") == ("test", "cats") and split.place("test/b.jpg") is None


def test_a_class_without_images_in_a_given_split_is_an_error():
    data = [item("cats", 1, split="train"), item("dogs", 2, split="train"), item("cats", 3, split="test")]
    with pytest.raises(StageError, match="no readable image of dogs in test"):
        check_classes(data, ["cats", "dogs"], ["test", "train"])
