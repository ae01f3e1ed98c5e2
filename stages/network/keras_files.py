"""Reading and writing .keras files; written ones have the same bytes whenever their content is the same."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from kpipe.stage import StageError

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip archive can carry


def read(path: Path) -> keras.Model:
    """The model in a .keras file, not compiled."""
    with no_random_weights():
        return keras.models.load_model(path, compile=False)


def read_foreign(path: Path, hint: str) -> keras.Model:
    """The model in a file that a person names; StageError where there is none, or it cannot be read."""
    if not path.is_file():
        raise StageError(f"{path}: no such file", hint=hint)
    try:
        return read(path)
    except Exception as e:  # Keras raises whatever a damaged or foreign archive makes it raise
        says = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise StageError(f"{path.name} cannot be read as a Keras model: {says}") from None


@contextmanager
def no_random_weights() -> Iterator[None]:
    """Begin with zeros what a file overwrites at once: drawing random weights takes JAX longer than reading the file.

    Only the initializers that Keras's own layers have by default are switched off, as long as the block lasts.
    """
    drawing = keras.initializers.VarianceScaling.__call__
    keras.initializers.VarianceScaling.__call__ = lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype)
    try:
        yield
    finally:
        keras.initializers.VarianceScaling.__call__ = drawing


def write(model: keras.Model, path: Path) -> None:
    """Save `model` as a .keras file that holds no date, no memory address, no time stamp and no optimizer.

    An optimizer's state would make the file three times as large, and depend on which part of the network was compiled.
    Layer names are kept as they are: name every layer (or clear the session first) where names must not depend on
    what the process did before.
    """
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "model.keras"
        keras.Model(model.input, model.output, name=model.name).save(draft)
        with zipfile.ZipFile(draft) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = canonical_config(members["config.json"])
    members["metadata.json"] = json.dumps({"keras_version": keras.__version__}).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            archive.writestr(member(name), members[name])


def member(name: str) -> zipfile.ZipInfo:
    """A member of the archive with a fixed date and plain permissions."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system = 3
    info.external_attr = 0o644 << 16
    return info


def canonical_config(text: bytes) -> bytes:
    """The model's configuration with shared objects numbered in order of appearance: Keras writes memory addresses."""
    numbers: dict[int, int] = {}

    def renumber(value: Any) -> Any:
        if isinstance(value, list):
            return [renumber(item) for item in value]
        if not isinstance(value, dict):
            return value
        done = {key: renumber(item) for key, item in value.items()}
        if "shared_object_id" in done:
            done["shared_object_id"] = numbers.setdefault(done["shared_object_id"], len(numbers))
        return done

    return json.dumps(renumber(json.loads(text)), sort_keys=True).encode()
