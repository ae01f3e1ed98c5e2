"""Small data sets of three kinds, whole or with a fault put into the files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tests.pictures import photo

SIZE = 48
COUNTS = {"train": 200, "validation": 100, "test": 120}
KINDS = ("photos", "digits", "textures")
Labelled = dict[str, list[Image.Image]]  # class -> pictures
Splits = dict[str, Labelled]


@dataclass(frozen=True)
class Source:
    """A data set: a kind, a seed, and what is done to it.

    `change` may hold "leak": share of validation and test that are copies of training pictures; "imbalance": how many times
    fewer training pictures the other classes have than the first; "mislabel": share of training and validation pictures under
    another class; "rotate": by how many classes the names of validation and test are off; "train" and "test": pictures of these.
    """

    kind: str
    seed: int
    change: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For a folder."""
        return "-".join([self.kind, str(self.seed), *(f"{key}-{value:g}" for key, value in self.change.items())])

    def write(self, place: Path, photographs: Path) -> Path:
        """Write the pictures as PNG files below a folder, unless they are there; the data set's own folder. Whole or not at all."""
        folder = place / self.name
        if folder.exists():
            return folder
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=place) as name:
            draft = Path(name) / self.name
            for split, labelled in changed(drawn(self, photographs), self).items():
                for label, pictures in labelled.items():
                    (draft / split / label).mkdir(parents=True)
                    for i, picture in enumerate(pictures):
                        picture.save(draft / split / label / f"{i:04}.png")
            try:
                draft.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was first
                    raise
        return folder


def drawn(source: Source, photographs: Path) -> Splits:
    """The pictures as they are, as many of each class; each in one split only."""
    counts = {**COUNTS, **{name: int(source.change[name]) for name in COUNTS if name in source.change}}
    random = np.random.default_rng([source.seed, KINDS.index(source.kind)])
    names = classes(source.kind)
    found: Splits = {split: {} for split in counts}
    for label, name in enumerate(names):
        pictures = available(source, photographs, label, name)
        order = random.permutation(len(pictures))
        begin = 0
        for split in counts:
            number = counts[split] // len(names)
            found[split][name] = [opened(pictures[i]) for i in order[begin : begin + number]]
            begin += COUNTS[split] // len(names)
    return found


def classes(kind: str) -> tuple[str, ...]:
    """Names of a kind's classes."""
    return {"photos": ("cats", "dogs"), "digits": tuple("0123456789"), "textures": ("coarse", "fine", "medium")}[kind]


def available(source: Source, photographs: Path, label: int, name: str) -> list[Path | Image.Image]:
    """All there is of a class: files, or pictures."""
    if source.kind == "photos":
        return sorted(path for split in COUNTS for path in (photographs / split / name).glob("*"))
    if source.kind == "digits":
        from sklearn.datasets import load_digits

        data = load_digits()
        return [Image.fromarray((image * (255 / 16)).astype(np.uint8)) for image in data.images[data.target == label]]
    need = sum(COUNTS.values()) // len(classes(source.kind)) + 1
    return [photo(label, 10_000 * source.seed + i, SIZE) for i in range(need)]


def opened(picture: Path | Image.Image) -> Image.Image:
    """In the size and the mode of all."""
    image = Image.open(picture) if isinstance(picture, Path) else picture
    return image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)


def changed(splits: Splits, source: Source) -> Splits:
    """The data set with its fault."""
    random = np.random.default_rng([source.seed, 1])
    names = sorted(splits["train"])
    if "imbalance" in source.change:
        for name in names[1:]:
            del splits["train"][name][max(2, round(len(splits["train"][name]) / source.change["imbalance"])) :]
    for split in ("validation", "test") if "leak" in source.change else ():
        for name in names:
            own, known = splits[split][name], splits["train"][name]
            number = min(round(source.change["leak"] * len(own)), len(known))
            own[:number] = known[:number]
    for split in ("train", "validation") if "mislabel" in source.change else ():
        mislabel(splits[split], source.change["mislabel"], random)
    for split in ("validation", "test") if "rotate" in source.change else ():
        own = splits[split]
        splits[split] = {name: own[names[(i + int(source.change["rotate"])) % len(names)]] for i, name in enumerate(names)}
    return splits


def mislabel(labelled: Labelled, share: float, random: np.random.Generator) -> None:
    """Put a share of every class's pictures under another class."""
    names = sorted(labelled)
    moved = {name: labelled[name][: round(share * len(labelled[name]))] for name in names}
    for name in names:
        del labelled[name][: len(moved[name])]
    for i, name in enumerate(names):
        for picture in moved[name]:
            labelled[names[(i + random.integers(1, len(names))) % len(names)]].append(picture)
