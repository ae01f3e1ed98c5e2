"""Reading and writing .keras files; written ones have the same bytes whenever their content is the same."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from kpipe.stage import StageError

OWN_CODE = "kpipe runs no code that a file brings: put Keras's own layers in its place, load the weights into them, and save that"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip archive can carry


def read(path: Path) -> keras.Model:
    """The model in a .keras file, not compiled."""
    with no_random_weights():
        return keras.models.load_model(path, compile=False)


def read_foreign(path: Path, hint: str) -> keras.Model:
    """The model in a file that a person names; StageError where there is none, or it cannot be read."""
    if not path.is_file():
        raise StageError(f"{path}: {'a folder, no file' if path.is_dir() else 'no such file'}", hint=hint)
    try:
        return read(path)
    except Exception as e:  # Keras raises whatever a damaged or foreign archive makes it raise
        said = f"{e} {e.__context__ or ''}"
        if own := re.search(r"Could not locate (?:class|function) '([^']+)'", said):
            raise StageError(f"{path.name} needs {own[1]}, which is code of its program's own", hint=OWN_CODE) from None
        if "Lambda" in said:
            raise StageError(f"{path.name} has a Lambda layer, whose code is not run", hint=OWN_CODE) from None
        says = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise StageError(f"{path.name} cannot be read as a Keras model: {says}", hint=hint) from None


def compiled_loss(path: Path) -> str | None:
    """The loss that a .keras file says its model was compiled with, as Keras names the function; None where it says none."""
    try:
        with zipfile.ZipFile(path) as archive:
            loss = (json.loads(archive.read("config.json")).get("compile_config") or {}).get("loss")
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    if isinstance(loss, dict):  # an object, or a function
        loss = loss.get("config") if loss.get("class_name") == "function" else loss.get("class_name")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", loss).lower() if isinstance(loss, str) else None


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
