"""Images from a folder or a sample: one array, one manifest, an audit."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np

from kpipe.stage import File, Folder, Stage, StageError
from stages import disk, json_files
from stages.data import assignment, decoded, inspection, manifest, splits
from stages.data.audit import audit, counts
from stages.data.colours import colour
from stages.data.datasets import DataSet
from stages.data.images import Look
from stages.data.manifest import Item
from stages.data.sources import dataset_of
from stages.data.subset import subset as stratified

OFF = 0.25  # of a share: what chance does to it where there are few images


def run(
    stage: Stage,
    *,
    source: Literal["sample:digits", "keras:cifar10", "keras:cifar100", "keras:fashion_mnist", "keras:mnist"] | Folder | File,
    images: Folder | None = None,
    image_size: Annotated[int | list[int], "8 <= image_size <= 4096"] = 150,
    validation: Annotated[float, "0 < validation < 1"] = 0.15,
    test: Annotated[float, "0 < test < 1"] = 0.15,
    split: Literal["stable", "exact"] = "stable",
    folds: Annotated[int, "2 <= folds <= 100"] | None = None,
    subset: Annotated[int | float, "0 < subset"] | None = None,
    seed: Annotated[int, "0 <= seed < 4294967296"] = 0,
    resize: Literal["stretch", "crop", "pad"] = "stretch",
    background: Annotated[Literal["white", "black"] | list[int], "0 <= background <= 255"] = "white",
    nested: Literal["join", "error"] = "join",
    on_bad_image: Literal["skip", "error"] = "skip",
    duplicates: Literal["report", "drop", "error"] = "report",
) -> None:
    """Give images.npy, manifest.csv, dataset.json, audit.json, duplicates.csv and pictures.json.

    A folder holds one folder a class, or train/ (or training/), validation/ (or val/, valid/) and test/ (or testing/) with
    one folder a class each. A split that the folders do not give is drawn from the training images: `validation` and `test`
    are shares of each class.
    `split`: "stable", an image that is added moves no other and the shares are kept but for chance, or "exact".
    `folds`: all images but those of test are spread over so many folds for cross-validation; train's `fold` names one.
    `subset`: a stratified sample of so many images, or of this share of them where it is below 1.
    `source` may also be an archive of such a folder, a data set of Keras, or a CSV or Parquet table of path, label and, if
    wanted, split and group; its paths are relative to it, and `images` is the folder they lie in. Transparency is composited
    over `background`; images in folders below their class's are taken into that class or, by `nested`, refused.
    `image_size` is a side or [height, width]; `resize` stretches the picture, crops its middle, or pads it with black.
    `on_bad_image`: a picture that cannot be read is skipped and told, or an error.
    Copies (exact, encoded anew, resized or mirrored) are never drawn into different splits or folds. `duplicates`: they are
    told; dropped from training where one lies in another split, and all but one within training; or an error.
    """
    began = time.perf_counter()
    size = height_and_width(image_size)
    dataset = dataset_of(stage, source, images, Look(size, resize, colour(background)), nested)
    stage.measure(decode_seconds=time.perf_counter() - began)  # finding and hashing files, decoding those not known yet
    _tell_skipped(stage, dataset, on_bad_image)
    splits.check_classes(dataset.items, dataset.classes, dataset.given)
    shares = {name: share for name, share in (("validation", validation), ("test", test)) if name not in dataset.given}
    if sum(shares.values()) >= 1:
        raise StageError(f"validation = {validation} and test = {test} leave nothing to train on", hint="keep their sum below 1")
    chosen = manifest.numbered(dataset.items if subset is None else stratified(dataset.items, subset, seed))
    looked = inspection.look(stage, chosen, dataset.pixels, size)
    held = assignment.units(chosen, looked.found.all.tolist())
    items = assignment.assign(chosen, shares, seed, split, held)
    items = assignment.fold(items, folds, seed, split, held) if folds else items
    _tell_shares(stage, items, shares, split)
    inspected = inspection.inspect(stage, items, looked, dataset.pixels, duplicates, seed)
    items = inspected.items
    left = len(dataset.items) - len(chosen)
    checked = (
        audit(items, size=size, skipped=dataset.skipped, others=dataset.others, ignored=dataset.ignored, unsampled=left)
        | inspected.told
    )
    checked["files"] += len(checked["duplicates"]["dropped"])
    inspected.write(stage.out)
    checked["pixels"] = _write_images(stage, dataset, items, size)
    manifest.write(stage.out / "manifest.csv", items)
    json_files.write(stage.out / "audit.json", checked)
    json_files.write(stage.out / "dataset.json", {
        "name": dataset.name,
        "source": stage.urls.get("source", dataset.source),
        "classes": list(dataset.classes),
        "image_size": list(size),
        "resize": resize,
        "background": background,
        "split": split_by(dataset.given, shares),
        "counts": counts(items),
    })  # fmt: skip


def height_and_width(image_size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) that image_size means: one number for a square, or [height, width]; StageError otherwise."""
    sides = [image_size, image_size] if isinstance(image_size, int) else list(image_size)
    if len(sides) != 2:
        raise StageError(f"image_size = {sides} has {len(sides)} numbers", hint="give one number, or [height, width]")
    return sides[0], sides[1]


def split_by(given: Collection[str], shares: Collection[str]) -> str:
    """Who chose the splits, in words."""
    if not given:
        return "by kpipe"
    return "as found" if not shares else f"as found, {' and '.join(shares)} drawn from train by kpipe"


def _tell_shares(stage: Stage, items: Sequence[Item], shares: Mapping[str, float], split: str) -> None:
    """Say where chance, or groups and copies that stay together, left a split another share than was asked for."""
    total = sum(item.split in ("train", *shares) for item in items)
    rounding = len({item.label for item in items}) / total if split == "exact" else 0.0  # an image of each class
    why = "groups or copies that stay together are too large for it" if split == "exact" else 'split = "exact" comes closer'
    for name, share in shares.items():
        found = sum(item.split == name for item in items) / total
        if abs(found - share) > max(OFF * share, rounding):
            stage.notice(f"{name} has {found:.1%} of the images instead of {share:.1%}; {why}")


def _tell_skipped(stage: Stage, dataset: DataSet, on_bad_image: str) -> None:
    if not dataset.skipped:
        return
    if on_bad_image == "error":
        raise StageError(dataset.bad("cannot be read"), hint='mend or remove them, or set on_bad_image = "skip"')
    stage.notice(dataset.bad("skipped"))


def _write_images(stage: Stage, dataset: DataSet, items: Sequence[Item], size: tuple[int, int]) -> dict[str, list[float]]:
    """Stream the pictures into images.npy; mean and standard deviation of the training images' channels, 0..255."""
    images = disk.RowFile(
        disk.new_array(stage.out / "images.npy", np.uint8, (len(items), *size, 3), f"{len(items):,} images", decoded.HINT)
    )
    sums, squares, pixels = np.zeros(3, np.int64), np.zeros(3, np.int64), 0
    for item in decoded.counted(stage, items, "writing"):
        picture = dataset.pixels(item)
        images[item.row] = picture
        if item.split == "train":
            sums += picture.sum(axis=(0, 1), dtype=np.int64)
            squares += np.square(picture, dtype=np.int64).sum(axis=(0, 1))
            pixels += size[0] * size[1]
    images.close()
    mean = sums / pixels
    return {"mean": mean.round(4).tolist(), "std": np.sqrt(squares / pixels - mean**2).round(4).tolist()}
