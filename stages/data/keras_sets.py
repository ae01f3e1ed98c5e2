"""Data sets that Keras downloads: photographs and drawings of 28 x 28 and 32 x 32 pixels, split into train and test."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kpipe.stage import Stage, StageError
from stages.data.datasets import DataSet
from stages.data.images import Look, fit
from stages.data.manifest import Item

LOAD = """
import sys, numpy, keras
(a, b), (c, d) = getattr(keras.datasets, sys.argv[1]).load_data()
numpy.savez(sys.argv[2], train=a, train_labels=b, test=c, test_labels=d)
"""
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
FASHION = "t-shirt_top trouser pullover dress coat sandal shirt sneaker bag ankle_boot"
CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree
wolf woman worm
"""
NAMES: Mapping[str, Sequence[str]] = {
    "cifar10": CIFAR10.split(),
    "cifar100": CIFAR100.split(),
    "mnist": [str(digit) for digit in range(10)],
    "fashion_mnist": FASHION.split(),
}


def read(stage: Stage, name: str, look: Look) -> DataSet:
    """A data set by the name of its module in keras.datasets; its test split stays, validation is to be drawn from train."""
    arrays = load(name, stage.scratch / f"{name}.npz")
    originals: dict[str, NDArray[np.uint8]] = {}
    items = []
    for split in ("train", "test"):
        for index, (original, number) in enumerate(zip(arrays[split], arrays[f"{split}_labels"].ravel(), strict=True)):
            item = _item(f"{split}/{index:05d}", NAMES[name][int(number)], split, original)
            items.append(item)
            originals[item.path] = original

    def pixels(item: Item) -> NDArray[np.uint8]:
        return np.asarray(fit(Image.fromarray(originals[item.path]).convert("RGB"), look.size, look.resize))

    return DataSet(name, f"keras:{name}", sorted(NAMES[name]), items, pixels, given=("test", "train"))


def load(name: str, file: Path) -> Mapping[str, NDArray[np.uint8]]:
    """The arrays "train" and "test", (N, H, W) or (N, H, W, 3), and "train_labels" and "test_labels".

    Keras is started in a process of its own: imported here, it would make ingest's results belong to one backend and device.
    Raises StageError where the data are not in Keras's folder and cannot be downloaded.
    """
    environment = os.environ | {"KERAS_BACKEND": "numpy"}
    done = subprocess.run([sys.executable, "-c", LOAD, name, str(file)], env=environment, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or "no output").splitlines()[-1]
        raise StageError(
            f"keras.datasets.{name} cannot be loaded: {said}",
            hint=f'where there is a network, run python -c "import keras; keras.datasets.{name}.load_data()"',
        )
    with np.load(file) as stored:
        arrays = dict(stored)
    file.unlink()
    return arrays


def _item(path: str, label: str, split: str, original: NDArray[np.uint8]) -> Item:
    return Item(
        path=path,
        label=label,
        hash=hashlib.sha256(original.tobytes()).hexdigest(),
        width=original.shape[1],
        height=original.shape[0],
        mode="RGB" if original.ndim == 3 else "L",
        format="array",
        bytes=original.nbytes,
        split=split,
    )
