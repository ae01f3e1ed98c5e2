"""Folders as classes and splits."""

import pytest

from kpipe.stage import StageError
from stages.data.manifest import Item
from stages.data.splits import check_classes, layout


def item(label, content, split=""):
    return Item(f"{label}/{content}", label, f"{label}{content}", 8, 8, "RGB", "PNG", 9, split=split)


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
        (["training", "training/cats", "testing", "testing/cats"], {"train", "test"}),
        (["boxing", "boxing/a", "training", "training/a"], set()),
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
