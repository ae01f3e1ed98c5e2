"""The cases of the exam: healthy runs, and runs with one fault, in several strengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal

from tests.benchmarks.exam.pictures import KINDS, Source

MODELS = ("resnet50", "vgg16")
BACKENDS = ("tensorflow", "jax")
BLIND = ("photos", "vgg16")  # in pictures so small this network sees no animals, healthy or not
HEALTHY: Mapping[str, Any] = {  # the settings of a run, by the parameters' names
    "scaling": "model", "weights_scaling": "model", "weights": "pretrained", "augment": "none", "zoom": 0.0,
    "brightness": [1.0, 1.0], "rotation": 0.0, "augment_validation": False, "unfreeze": 0, "batch_size": 20, "layer_decay": 1.0, "optimizer": "adam", "momentum": 0.0, "class_weights": "none",
    "label_smoothing": 0.0, "pooling": "avg", "units": 0, "dropout": 0.0, "batchnorm": "auto", "early_stopping": 0,
    "activations": "float32", "views": 0,
}  # fmt: skip
USUAL: Mapping[str, Mapping[str, Any]] = {  # of a network: features of VGG16 are far larger
    "resnet50": {"epochs": 8, "rate": 1e-3},
    "vgg16": {"epochs": 20, "rate": 1e-3},
}


@dataclass(frozen=True)
class Case:
    """One run. `settings` are those that differ from HEALTHY, or what is done to a network that doctor is shown."""

    half: Literal["declared", "hidden"]
    source: Source
    model: str
    backend: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""  # "": healthy
    rules: tuple[str, ...] = ()  # any of them names the cause
    note: bool = False  # a note is enough
    always: bool = False  # a fault also where it costs no accuracy

    @property
    def name(self) -> str:
        """Different for different cases; a name in a pipeline file."""
        told = [f"{key}-{value}" for key, value in self.settings.items()]
        text = "_".join([self.half, self.fault or "healthy", self.source.name, self.model, *told])
        return "".join(c if c.isalnum() or c in "-_." else "-" for c in text).replace(".", "p")

    @property
    def key(self) -> str:
        """Its name, different on the two backends as well."""
        return f"{self.backend}-{self.name}"

    def healthy(self) -> Case:
        """The same run without the fault."""
        change = {
            key: value
            for key, value in self.source.change.items()
            if key in ("train", "test") and self.fault in ("few-test", "overfitting")
        }
        source = Source(self.source.kind, self.source.seed, change)
        kept = {key: value for key, value in self.settings.items() if key in KEPT.get(self.fault, ())}
        return Case(self.half, source, self.model, self.backend, kept)


KEPT = {  # settings of a faulty run that are no part of its fault
    "batchnorm": ("unfreeze", "learning_rate", "epochs"),
    "small-batches": ("unfreeze", "learning_rate", "epochs"),
    "unfreezing": ("unfreeze", "epochs"),
    "rate-high": ("units",),
    "rate-low": (),
    "validation-augmented": ("augment", "views"),
}


def some(kinds: tuple[str, ...] = KINDS, models: tuple[str, ...] = MODELS, jax: int = 3) -> Iterator[tuple[Source, str, str]]:
    """Data sets, networks and backends: all on TensorFlow, every so many on JAX."""
    for number, (kind, model) in enumerate(product(kinds, models)):
        if (kind, model) == BLIND:
            continue
        yield Source(kind, 1), model, "tensorflow"
        if number % jax == 0:
            yield Source(kind, 1), model, "jax"


def fault(
    half: Literal["declared", "hidden"], name: str, rules: str, strengths: Any, *, where: Any = None, **more: Any
) -> Iterator[Case]:
    """A fault in several strengths, on several data sets and networks. A strength is a dictionary of settings, or a change
    of the data set under "data"."""
    for (source, model, backend), strength in product(list(where or some()), strengths):
        if backend == "jax" and strength is not strengths[0]:
            continue
        settings = {key: value for key, value in strength.items() if key != "data"}
        changed = Source(source.kind, source.seed, strength.get("data", {}))
        yield Case(half, changed, model, backend, settings, name, tuple(rules.split()), **more)


def data(name: str, *values: float) -> list[dict[str, Any]]:
    """Strengths of a change of the data."""
    return [{"data": {name: value}} for value in values]


def setting(name: str, *values: Any, **more: Any) -> list[dict[str, Any]]:
    """Strengths of a setting."""
    return [{name: value, **more} for value in values]


TWO = ("photos", "digits")
FEW = ("photos", "textures")  # of few classes: a sixteenth of a digit's pictures would be one
SURE = ("textures",)  # that both networks know nearly all of: where they err as often, wrong labels are not to be told
RESNET = ("resnet50",)


def declared_faults() -> Iterator[Case]:
    """In the pipeline file, or in the files it names."""
    half: Literal["declared"] = "declared"
    yield from fault(half, "scale", "input-scale", setting("scaling", "unit", "symmetric", "none"))
    yield from fault(
        half, "weights-scale", "input-scale", setting("weights_scaling", "unit", "symmetric"), where=list(some(models=RESNET))
    )
    trained = setting("epochs", 2, 4, unfreeze=8, learning_rate=1e-3, batchnorm="train")
    yield from fault(half, "batchnorm", "batchnorm-gap", trained, where=list(some(models=RESNET)))
    small = setting("batch_size", 2, 4, unfreeze=8, learning_rate=1e-4, batchnorm="train", epochs=3)
    yield from fault(half, "small-batches", "small-batches", small, where=list(some(TWO, RESNET)))
    yield from fault(
        half, "rate-high", "learning-rate-high", setting("learning_rate", 1.0, 10.0, units=64), where=list(some(TWO))
    )
    yield from fault(half, "rate-low", "learning-rate-low", setting("learning_rate", 1e-8, 1e-7), where=list(some(TWO)))
    yield from fault(half, "random-frozen", "random-backbone", setting("weights", "random"))
    stayed = setting("layer_decay", 1e-5, unfreeze=3, epochs=3)
    yield from fault(half, "unfreezing", "unfreezing-without-effect", stayed, where=list(some(TWO)), always=True)
    strong = [{"augment": "question", "views": 1}, {"zoom": 20.0, "views": 1}, {"brightness": [0.0, 0.02], "views": 1}]
    yield from fault(
        half, "augmentation", "augmentation-extreme augmentation-too-strong", strong, where=list(some(TWO)), always=True
    )
    changed = setting("augment_validation", True, augment="light", views=1)
    yield from fault(half, "validation-augmented", "validation-augmented", changed, where=list(some(TWO)), always=True)
    heart = [{"data": {"train": n}, "pooling": "flatten", "units": 256, "epochs": 25} for n in (40, 80)]
    yield from fault(half, "overfitting", "overfitting", heart, where=list(some(TWO)), note=True)
    leaked = data("leak", 0.1, 0.2, 0.5)
    yield from fault(half, "leakage", "leakage copies-across-splits", leaked, where=list(some(TWO)), always=True)
    yield from fault(half, "imbalance", "imbalance", data("imbalance", 8, 16), where=list(some(FEW)))
    yield from fault(half, "misaligned", "labels-misaligned", data("rotate", 1))
    yield from fault(
        half, "label-errors", "label-errors", data("mislabel", 0.1, 0.2), where=list(some(SURE)), note=True, always=True
    )
    yield from fault(half, "few-test", "few-test-images", data("test", 40), where=list(some(TWO)), note=True, always=True)


def hidden_faults() -> Iterator[Case]:
    """In pixels, labels or weights; doctor sees a file, a folder and a history."""
    half: Literal["hidden"] = "hidden"
    pixels = setting("pixels", "unit", "symmetric", "none", "swapped", "twice", "torch")
    yield from fault(half, "scale", "input-scale", pixels)
    stale = setting("stale", 0, 10, 50)  # after so many steps with a momentum of 0.99
    yield from fault(half, "batchnorm", "batchnorm-gap", stale, where=list(some(models=RESNET)))
    yield from fault(half, "misaligned", "labels-misaligned", setting("renamed", 1, -1))
    skewed = setting("validation_pixels", "unit", "symmetric")
    yield from fault(half, "validation-skew", "validation-skew", skewed, where=list(some(TWO, RESNET)), always=True)
    yield from fault(half, "rate-high", "learning-rate-high", setting("rate", 1.0, 10.0, units=64), where=list(some(TWO)))
    yield from fault(half, "rate-low", "learning-rate-low", setting("rate", 1e-8, 1e-7), where=list(some(TWO)))
    large = [(Source("textures", seed), "vgg16", "jax") for seed in (1, 2, 3, 4)]  # on TensorFlow the loss finds the logits
    yield from fault(half, "saturated", "saturated-outputs", setting("units", 64), where=large)
    yield from fault(half, "dead-units", "dead-units", setting("dead", True, units=64), where=list(some(TWO)))
    yield from fault(half, "collapse", "one-class", setting("bias", 100.0, 1000.0), where=list(some()))
    heart = [{"data": {"train": n}, "flatten": True, "units": 256, "epochs": 25} for n in (40, 80)]
    yield from fault(half, "overfitting", "overfitting", heart, where=list(some(TWO)), note=True)
    yield from fault(half, "leakage", "leakage", data("leak", 0.1, 0.2, 0.5), where=list(some(TWO)), always=True)
    yield from fault(half, "imbalance", "imbalance", data("imbalance", 8, 16), where=list(some(FEW)))
    yield from fault(
        half, "label-errors", "label-errors", data("mislabel", 0.1, 0.2), where=list(some(SURE)), note=True, always=True
    )


RECIPES: tuple[Mapping[str, Any], ...] = (
    {}, {"units": 64, "dropout": 0.3}, {"unfreeze": 2, "learning_rate": 1e-4}, {"augment": "light", "views": 2},
    {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 3e-4, "epochs": 20}, {"label_smoothing": 0.1, "class_weights": "balanced"},
    {"pooling": "flatten", "early_stopping": 3}, {"activations": "float16", "batch_size": 16, "epochs": 10},
    {"unfreeze": 8, "learning_rate": 1e-4, "batchnorm": "recalibrate", "epochs": 5},
)  # fmt: skip
NETWORKS: tuple[Mapping[str, Any], ...] = (
    {}, {"nested": True}, {"outside": True}, {"units": 64}, {"sigmoid": True}, {"logits": True}, {"flatten": True},
    {"outside": True, "nested": True}, {"history": False},
)  # fmt: skip


def healthy(half: Literal["declared", "hidden"]) -> Iterator[Case]:
    """Runs without a fault: another seed is another data set and other first weights."""
    recipes = RECIPES if half == "declared" else NETWORKS
    for number, (seed, kind, model, recipe) in enumerate(product((1, 2, 3, 4), KINDS, MODELS, recipes)):
        backend = "jax" if number % 10 == 0 else "tensorflow"
        if (half, model, backend) == ("hidden", "vgg16", "jax") and recipe.get("units"):
            recipe = {**recipe, "logits": True}  # without, its outputs saturate
        if (
            (kind, model) != BLIND
            and not (recipe.get("unfreeze") == 8 and model == "vgg16")
            and not (recipe.get("sigmoid") and kind != "photos")
        ):
            yield Case(half, Source(kind, seed), model, backend, recipe)


def cases(backend: str | None = None) -> list[Case]:
    """All of them, each once; each on its own backend, or all on this one."""
    everything = [*declared_faults(), *hidden_faults(), *healthy("declared"), *healthy("hidden")]
    if backend:
        everything = [replace(case, backend=backend) for case in everything]
    return list({(case.backend, case.name): case for case in everything}.values())
