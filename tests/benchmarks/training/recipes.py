"""What is trained: the networks and the recipes, the same on every side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TITLES = {"resnet50": "ResNet50", "vgg16": "VGG16"}


@dataclass(frozen=True)
class Recipe:
    """A head on a backbone, and how many of the backbone's last layers learn with it."""

    name: str
    unfreeze: Mapping[str, int]  # by network
    pooling: str  # "avg" or "flatten"
    units: int
    dropout: float
    learning_rate: float
    second: Mapping[str, float]  # parameters of stages.train that the second experiment changes: none alters the arithmetic

    def title(self, model: str) -> str:
        """In a few words."""
        trained = f"last {self.unfreeze[model]} layers" if self.unfreeze[model] else "frozen backbone"
        hidden = f", Dense {self.units}" if self.units else ""
        dropped = f", Dropout {self.dropout}" if self.dropout else ""
        return f"{TITLES[model]}, {trained}, {'Flatten' if self.pooling == 'flatten' else 'GAP'}{hidden}{dropped}"


RECIPES = {
    "question": Recipe(
        name="question",
        unfreeze={"resnet50": 8, "vgg16": 4},
        pooling="flatten",
        units=256,
        dropout=0.5,
        learning_rate=1e-4,
        second={"dropout": 0.4, "learning_rate": 5e-5},
    ),
    "frozen": Recipe(
        name="frozen",
        unfreeze={"resnet50": 0, "vgg16": 0},
        pooling="avg",
        units=0,
        dropout=0.2,
        learning_rate=1e-3,
        second={"dropout": 0.4, "learning_rate": 5e-4},
    ),
}


@dataclass(frozen=True)
class Task:
    """One network trained by one recipe on one backend."""

    model: str
    backend: str
    recipe: Recipe
    data: Path  # train/, validation/ and test/ with one folder a class each
    weights: str  # a file, "imagenet" or "random"
    size: int = 150
    batch_size: int = 20
    epochs: int = 15
    batchnorm: str = "train"  # of kpipe: what plain Keras does with unfrozen BatchNormalization layers
    seed: int = 0

    @property
    def title(self) -> str:
        """For a heading."""
        return f"{self.recipe.title(self.model)}, {self.epochs} epoch{'s' * (self.epochs != 1)}, {self.backend}"

    def for_scripts(self) -> dict[str, object]:
        """What a peer's process needs to know, as plain data."""
        own = {name: getattr(self, name) for name in ("model", "weights", "size", "batch_size", "epochs", "seed")}
        head = {name: getattr(self.recipe, name) for name in ("pooling", "units", "dropout", "learning_rate")}
        classes = sum(path.is_dir() for path in (self.data / "train").iterdir())
        return {**own, **head, "unfreeze": self.recipe.unfreeze[self.model], "data": str(self.data), "classes": classes}


def weights_of(model: str, asked: str) -> str | None:
    """The network's weights without its top: as asked, or the file for it in the folder asked for; None without one."""
    if asked in ("imagenet", "random"):
        return asked
    found = sorted(Path(asked).absolute().glob(f"{model}*notop*.h5"))
    return str(found[0]) if found else None
