"""A stage begins in a process as if that was new: what an earlier one changed in it is put back."""

from __future__ import annotations

import decimal
import gc
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from kpipe.identity import keras_config

CONTEXT = decimal.getcontext().copy()


def current_folder() -> str:
    """The folder that this process is in; the one above all where somebody has removed it."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.sep


@contextmanager
def put_back() -> Iterator[None]:
    """After the block: folder, variables, path of imports, mode of new files and arithmetic of decimals as before it."""
    folder, variables, path, mask = current_folder(), dict(os.environ), list(sys.path), os.umask(0o022)
    os.umask(mask)
    decimal.setcontext(CONTEXT.copy())
    try:
        yield
    finally:
        with suppress(OSError):  # it may be gone
            os.chdir(folder)
        for name in [name for name in os.environ if name not in variables]:
            del os.environ[name]
        os.environ.update({name: value for name, value in variables.items() if os.environ.get(name) != value})
        sys.path[:] = path
        os.umask(mask)


def forget_keras() -> None:
    """Let go of the networks that an earlier stage made, and let Keras begin with its own settings."""
    keras = sys.modules.get("keras")
    if keras is not None:
        keras.utils.clear_session(free_memory=True)
        settings = keras_config()
        keras.config.set_floatx(settings["floatx"])
        keras.config.set_epsilon(settings["epsilon"])
        keras.config.set_image_data_format(settings["image_data_format"])
        keras.config.set_dtype_policy(settings["floatx"])


def freeze_libraries() -> None:
    """Leave what is imported by now out of later garbage collections, which went through all of Keras each time.

    To be called when nothing of a stage is left: what is frozen is never collected.
    """
    if "keras" in sys.modules and not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


def seed_numpy(numpy: ModuleType) -> None:
    """Begin NumPy's random numbers anew."""
    numpy.random.seed(0)


def seed_keras(keras: ModuleType) -> None:
    """Begin Keras's random numbers anew, and those of its backend."""
    keras.utils.set_random_seed(0)


SEEDED: dict[str, Callable[[ModuleType], None]] = {"numpy": seed_numpy, "keras": seed_keras}


def seed() -> None:
    """Begin the random numbers of Python and of every library that is imported."""
    random.seed(0)
    for name, begin in SEEDED.items():
        if name in sys.modules:
            begin(sys.modules[name])


class Seeding:
    """Finds the libraries with random numbers, which begin where they do in a process that had them already."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """What Python finds, with a loader that seeds after it has loaded."""
        spec = PathFinder.find_spec(name) if name in SEEDED else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                SEEDED[name](module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def seed_on_import() -> None:
    """Seed libraries that are imported from here on."""
    if not any(isinstance(finder, Seeding) for finder in sys.meta_path):
        sys.meta_path.insert(0, Seeding())
