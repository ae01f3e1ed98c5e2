"""A small data set and a small residual backbone as artifacts, so that the Keras stages run in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kpipe.stage import Stage
from stages.data.manifest import Item, write
from stages.network import batchnorm, head, keras_files
from stages.pixels import CONTRACTS, Contract

CLASSES = ["blue", "green", "red"]
UNIT = CONTRACTS["unit"]
SIZE = 12


@dataclass
class Run:
    """A folder in which stages are run one after the other, each seeing what the ones before it gave."""

    folder: Path
    inputs: dict[str, Path] = field(default_factory=dict)

    def stage(self, name: str) -> Stage:
        """A stage with an empty output folder of its own; the store is shared."""
        out = self.folder / f"{name}-{len(list(self.folder.glob(f'{name}-*')))}"
        scratch = self.folder / "scratch" / out.name
        return Stage(inputs=dict(self.inputs), out=out, scratch=scratch, store=self.folder / "store")

    def run(self, name: str, function: Any, **parameters: Any) -> Path:
        """Run a stage; what it gives is what later ones see under its name."""
        stage = self.stage(name)
        function(stage, **parameters)
        self.inputs[name] = stage.out
        return stage.out


def start(
    folder: Path,
    *,
    images: int = 90,
    applied: Contract = UNIT,
    expected: Contract | None = None,
    augment: dict[str, Any] | None = None,
) -> Run:
    """A run with the artifacts of ingest, preprocess and build."""
    run = Run(folder)
    for name in ("ingest", "preprocess", "build"):
        run.inputs[name] = folder / name
        run.inputs[name].mkdir(parents=True)
    ingest(run.inputs["ingest"], images)
    recipe = augment or {"name": "none", "settings": {"brightness": [1.0, 1.0]}, "validation": False, "seed": 0}
    dump(run.inputs["preprocess"] / "augment.json", recipe)
    dump(run.inputs["preprocess"] / "checks.json", [])
    network = backbone(applied)
    keras_files.write(network, run.inputs["build"] / "backbone.keras")
    dump(run.inputs["build"] / "layers.json", {"backbone_layers": layer_names(network)})
    weights = "imagenet" if expected else "random"  # only weights that were trained before expect anything
    pixels = {"applied": applied.to_json(), "expected": expected and expected.to_json(), "scaling": "model", "weights": weights}
    dump(run.inputs["build"] / "pixels.json", pixels)
    return run


def ingest(folder: Path, images: int) -> None:
    """Noise in which one channel is brighter, by class."""
    rng = np.random.default_rng(3)
    labels = np.arange(images) % len(CLASSES)
    pixels = rng.integers(0, 120, (images, SIZE, SIZE, 3))
    pixels[np.arange(images), :, :, 2 - labels] += 60
    np.save(folder / "images.npy", pixels.astype(np.uint8))
    items = [
        Item(f"{i:03d}.png", CLASSES[labels[i]], f"{i:064x}", SIZE, SIZE, "RGB", "PNG", 100, i, split(i)) for i in range(images)
    ]
    write(folder / "manifest.csv", items)
    dump(folder / "dataset.json", {"classes": CLASSES, "image_size": [SIZE, SIZE]})


def split(row: int) -> str:
    """Of six images of every class, one is for validation and one for test."""
    return {1: "validation", 4: "test"}.get(row // len(CLASSES) % 6, "train")


def backbone(contract: Contract = UNIT) -> keras.Model:
    """A convolution, then a residual block: 11 layers as keras.applications would list them."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    image = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="image")
    channels = keras.ops.flip(image, axis=-1) if contract.channel_order == "bgr" else image
    x = layers.Rescaling(contract.scales, offset=list(contract.offset), name="pixels")(channels)
    x = layers.Conv2D(8, 3, name="conv1")(x)
    x = layers.BatchNormalization(name="bn1")(x)
    x = shortcut = layers.Activation("relu", name="relu1")(x)
    x = layers.Conv2D(8, 3, padding="same", name="conv2")(x)
    x = layers.BatchNormalization(name="bn2")(x)
    x = layers.Activation("relu", name="relu2")(x)
    x = layers.Conv2D(8, 3, padding="same", name="conv3")(x)
    x = layers.BatchNormalization(name="bn3")(x)
    x = layers.Add(name="add")([shortcut, x])
    return keras.Model(image, layers.Activation("relu", name="out")(x), name="tiny")


def layer_names(network: keras.Model) -> list[str]:
    """The backbone's layers as build lists them."""
    return [layer.name for layer in network.layers if layer.name != "pixels"]


def network(unfreeze: int | str, **options: Any) -> keras.Model:
    """The tiny backbone with a head, part of it unfrozen; all BatchNormalization layers hold statistics that are not 0 and 1."""
    trunk = backbone()
    rng = np.random.default_rng(5)
    statistics = {
        name: (rng.normal(0, 0.1, 8).astype(np.float32), rng.uniform(0.5, 2, 8).astype(np.float32))
        for name in batchnorm.learning(trunk)
    }
    batchnorm.assign(trunk, statistics)
    whole = head.attach(trunk, classes=len(CLASSES), **{"pooling": "avg", "units": 0, "dropout": 0.0, **options})
    head.unfreeze(whole, layer_names(trunk), unfreeze, batchnorm=True)  # type: ignore[arg-type]
    return whole


def content(folder: Path) -> dict[str, bytes]:
    """Bytes of every file in an artifact."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def dump(path: Path, value: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(value), encoding="utf-8")


def plain_keras(backend: str, code: str, *arguments: Path) -> str:
    """What a fresh interpreter prints that has Keras on this backend, and neither kpipe nor stages."""
    blocked = "import sys\nsys.modules['kpipe'] = sys.modules['stages'] = None\n"
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", blocked + code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=arguments[0].parent, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
