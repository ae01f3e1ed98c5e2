"""Predict: classify pictures with a trained network, prepared by the code that prepared its training images."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Branch, Stage, StageError
from stages.data import files, images
from stages.data.bad_images import BadImage, NotAnImage
from stages.data.colours import colour
from stages.data.images import Look
from stages.network import device, keras_files
from stages.reporting.results import read_results
from stages.reporting.trainings import ranked

CHUNK = 256  # pictures held in memory at a time
BATCH = 32


@dataclass(frozen=True)
class Classifier:
    """A network with what it needs to know about pictures and classes."""

    network: keras.Model
    look: Look  # how its training images were prepared
    classes: list[str]


@dataclass(frozen=True)
class Source:
    """A file to classify; `named` says that it was asked for itself, not found in a folder."""

    path: Path
    name: str
    named: bool


def run(stage: Stage, *, paths: list[str], model: str = "") -> None:
    """Write predictions.csv (path, predicted, probability, p_<class>...) and skipped.csv (path, reason).

    `model` is a branch's label, a .keras file, or empty for the branch with the best validation accuracy. Files that
    cannot be read are named and skipped; StageError where no picture is left, or the model cannot be found or read.
    """
    device.prepare()
    skipped: list[tuple[str, str]] = []
    sources = [source for path in paths for source in find(stage, Path(path), skipped)]
    classifier = choose(stage, model)
    rows: list[list[str]] = []
    for start in range(0, len(sources), CHUNK):
        prepared = list(prepare(stage, sources[start : start + CHUNK], classifier, skipped))
        if prepared:
            names, pixels = zip(*prepared, strict=True)
            rows += answers(classifier, list(names), np.stack(pixels))
        stage.progress(min(start + CHUNK, len(sources)), len(sources))
    if not rows:
        raise StageError(f"no picture in {', '.join(paths)}", hint="; ".join(f"{n}: {why}" for n, why in skipped[:3]) or None)
    probabilities = [f"p_{name}" for name in classifier.classes]
    write(stage.out / "predictions.csv", ["path", "predicted", "probability", *probabilities], rows)
    write(stage.out / "skipped.csv", ["path", "reason"], skipped)


def find(stage: Stage, path: Path, skipped: list[tuple[str, str]]) -> Iterator[Source]:
    """The file, or every file below the folder; broken links and the like join `skipped`. StageError where there is neither."""
    if path.is_dir():
        found = files.find(path)
        for name, reason in found.unusable:
            skip(stage, (path / name).as_posix(), reason, skipped)
        yield from (Source(file.path, (path / file.name).as_posix(), named=False) for file in found.candidates)
    elif path.is_file():
        yield Source(path, path.as_posix(), named=True)
    else:
        raise StageError(f"{path}: no such file or folder", hint="give pictures, or folders that hold pictures")


def choose(stage: Stage, model: str) -> Classifier:
    """The classifier that `model` names."""
    if model.endswith(".keras"):
        return foreign(stage, Path(model))
    branch = best(stage.branches) if not model else named(stage.branches, model)
    [result], _ = read_results([branch], needs=("ingest", "train"))
    height, width = result.dataset["image_size"]
    network = keras_files.read(result.folder("train") / "model.keras")
    look = Look((height, width), result.dataset["resize"], colour(result.dataset.get("background", "white")))
    return Classifier(network, look, list(result.training["classes"]))


def best(branches: list[Branch]) -> Branch:
    """The branch with the best validation accuracy; of several seeds or folds, in the network with the best mean."""
    evaluated, _ = read_results(branches, needs=("ingest", "train", "evaluate"))
    if not evaluated:
        raise StageError(
            "the last run has no trained and evaluated branch", hint="finish `kpipe run`, or give --model FILE.keras"
        )
    return ranked(evaluated)[0].lead.branch


def named(branches: list[Branch], label: str) -> Branch:
    """The trained branch with that label; StageError names those there are."""
    trained = {result.branch.label: result.branch for result in read_results(branches, needs=("ingest", "train"))[0]}
    if label not in trained:
        valid = ", ".join(trained) or "none, the last run trained nothing"
        raise StageError(f"there is no trained branch {label!r}", hint=f"branches: {valid}; or give a .keras file")
    return trained[label]


def foreign(stage: Stage, path: Path) -> Classifier:
    """A classifier from any .keras file that takes raw RGB pixels: size from its input, classes numbered as its outputs."""
    network = keras_files.read_foreign(path, hint="--model takes a branch of the last run or a .keras file")
    takes, gives = tuple(network.input_shape), tuple(network.output_shape)
    if len(takes) != 4 or takes[3] != 3 or None in takes[1:3] or len(gives) != 2:
        raise StageError(
            f"{path.name} takes {takes} and gives {gives}",
            hint="predict needs a model from RGB images of a fixed size (None, height, width, 3) to classes (None, classes)",
        )
    classes = [str(number) for number in range(max(gives[1], 2))]
    stage.notice(f"{path.name} tells no class names: its classes are numbered, and it is given raw RGB pixels from 0 to 255")
    return Classifier(network, Look((takes[1], takes[2])), classes)


def prepare(
    stage: Stage, sources: list[Source], classifier: Classifier, skipped: list[tuple[str, str]]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Name and pixels of every picture; the files that are none join `skipped`, unless a folder only happens to hold them."""
    look = classifier.look
    for source in sources:
        try:
            yield source.name, images.prepare(source.path, look.size, look.resize, look.background).pixels
        except BadImage as e:
            claims = files.Candidate(source.path, source.name).claims_image
            if source.named or claims or not isinstance(e, NotAnImage):
                skip(stage, source.name, str(e), skipped)


def skip(stage: Stage, name: str, reason: str, skipped: list[tuple[str, str]]) -> None:
    """Note a file that cannot be classified, and say so."""
    skipped.append((name, reason))
    stage.notice(f"skipped {name}: {reason}")


def answers(classifier: Classifier, names: list[str], pixels: NDArray[np.uint8]) -> list[list[str]]:
    """One row a picture: its name, the likeliest class, that class's probability, every class's probability."""
    probabilities = np.asarray(classifier.network.predict(pixels, batch_size=BATCH, verbose=0), dtype=np.float64)
    if probabilities.shape[1] == 1:  # one sigmoid unit tells the second class
        probabilities = np.hstack([1 - probabilities, probabilities])
    likeliest = probabilities.argmax(axis=1)
    return [
        [name, classifier.classes[index], *(f"{p:.6f}" for p in (row[index], *row))]
        for name, index, row in zip(names, likeliest, probabilities, strict=True)
    ]


def write(path: Path, header: list[str], rows: list[list[str]] | list[tuple[str, str]]) -> None:
    """A CSV table: UTF-8, one header line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
