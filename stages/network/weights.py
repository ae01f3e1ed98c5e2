"""Loading a file of pretrained weights into a backbone, with a clear error where the file does not fit."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import h5py
import keras
import numpy as np

from kpipe.stage import StageError

Shapes = dict[str, tuple[int, ...]]


def load(model: keras.Model, weights: str | Path, backbone: ModuleType) -> None:
    """Load `weights` ("imagenet" or the path of a file) into the flat functional `model` of that backbone.

    Takes .weights.h5 (Keras 3), .keras (the layers are found by name, in nested models too) and .h5 (Keras 2, as
    keras.applications publishes). Raises StageError where the file is missing, damaged, or of another network.
    """
    path = imagenet_file(backbone) if weights == "imagenet" else Path(weights)
    if path.name.endswith(".weights.h5"):
        load_keras3(model, path, backbone)
    elif path.suffix == ".keras":
        load_model_file(model, path, backbone)
    elif path.suffix in (".h5", ".hdf5"):
        load_keras2(model, path, backbone)
    else:
        raise StageError(f"{path.name} is no weights file", hint="give a .weights.h5, .keras or .h5 file")
    if not all(np.isfinite(array).all() for array in model.get_weights()):
        raise StageError(f"{path.name} holds weights that are not finite", hint="the training that wrote it had diverged")


def imagenet_file(backbone: ModuleType) -> Path:
    """The published ImageNet weights in Keras's cache (KERAS_HOME/models), downloaded by Keras if they are not there."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    path = home / "models" / str(backbone.IMAGENET["file"])
    if not path.exists():
        try:
            getattr(keras.applications, backbone.APPLICATION)(include_top=False, weights="imagenet")
        except Exception as error:  # Keras raises bare Exception where the download fails
            raise StageError(
                f"the ImageNet weights of {backbone.NAME} are not in Keras's cache and could not be downloaded",
                hint=f"put {path.name} into {path.parent}",
            ) from error
    if hashlib.md5(path.read_bytes()).hexdigest() != backbone.IMAGENET["md5"]:
        raise StageError(
            f"{path.name} in Keras's cache is not the published file (half-downloaded?)",
            hint=f"delete {path} and run again, or put the whole file there",
        )
    return path


def load_keras3(model: keras.Model, path: Path, backbone: ModuleType) -> None:
    """Load a .weights.h5 file after comparing all shapes in it with those that Keras would write for this model."""
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "own.weights.h5"
        model.save_weights(own)
        expected = shapes(own)
    compare(expected, shapes(path), path, backbone)
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise another_network(path, backbone, str(error).splitlines()[0]) from error


def shapes(path: Path) -> Shapes:
    """Shape of every array in an HDF5 file, by its path."""
    found: Shapes = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item.shape

    try:
        with h5py.File(path) as file:
            file.visititems(note)
    except (OSError, RuntimeError) as error:
        raise damaged(path) from error
    return found


def compare(expected: Shapes, found: Shapes, path: Path, backbone: ModuleType) -> None:
    """Refuse a file in which an expected array is missing or differs, or that has more layers of the same kinds."""
    for name, shape in expected.items():
        if found.get(name) != shape:
            there = f"of shape {found[name]}" if name in found else "not there"
            raise another_network(path, backbone, f"{name} should be of shape {shape} and is {there}")
    kinds = {kind(name) for name in expected}
    more = sorted(name for name in found.keys() - expected.keys() if kind(name) in kinds)
    if more:
        raise another_network(path, backbone, f"{len(more)} arrays too many, the first is {more[0]}")


def kind(name: str) -> str:
    """layers/conv2d_12/vars/0 -> layers/conv2d."""
    return re.sub(r"(_\d+)?/vars/\d+$", "", name)


def load_model_file(model: keras.Model, path: Path, backbone: ModuleType) -> None:
    """Load the layers of `model` from a whole .keras model that has layers of the same names and shapes."""
    try:
        whole = keras.models.load_model(path, compile=False)
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise damaged(path) from error
    except (ValueError, TypeError, KeyError) as error:
        raise StageError(
            f"{path.name} cannot be loaded as a Keras model: {str(error).splitlines()[0]}",
            hint="models with custom code cannot be used; save the backbone's weights as .weights.h5",
        ) from error
    source = {layer.name: layer for layer in every_layer(whole)}
    for layer in model.layers:
        wanted = [tuple(array.shape) for array in layer.weights]
        if wanted and layer.name not in source:
            raise another_network(path, backbone, f"it has no layer {layer.name}")
        if wanted and [tuple(array.shape) for array in source[layer.name].weights] != wanted:
            raise another_network(path, backbone, f"the arrays of layer {layer.name} have other shapes")
        if wanted:
            layer.set_weights(source[layer.name].get_weights())


def every_layer(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """All layers of a model, those of models inside it included."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from every_layer(layer)
        else:
            yield layer


def load_keras2(model: keras.Model, path: Path, backbone: ModuleType) -> None:
    """Load a weights file of Keras 2 (layers in order), as keras.applications publishes them."""
    shapes(path)  # finds a truncated file before anything is loaded
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise another_network(path, backbone, str(error).splitlines()[0]) from error


def damaged(path: Path) -> StageError:
    """The error for a file that cannot be read to its end."""
    return StageError(f"{path.name} cannot be read: it is truncated or no weights file", hint="copy or download it again")


def another_network(path: Path, backbone: ModuleType, why: str) -> StageError:
    """The error for a file whose arrays are not this backbone's."""
    return StageError(
        f"{path.name} does not hold the weights of {backbone.NAME} without its top: {why}",
        hint="choose the model that these weights belong to, or a file saved with include_top=False",
    )
