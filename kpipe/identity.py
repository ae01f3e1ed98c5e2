"""Versions and settings outside the project that decide what code computes: Python, distributions, Keras and its backend."""

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kpipe.digest import digest_file, digest_value

BACKENDS: dict[str, tuple[str, ...]] = {"tensorflow": ("tensorflow",), "jax": ("jax", "jaxlib")}
KERAS_PACKAGES = frozenset({"keras", *(package for packages in BACKENDS.values() for package in packages)})
VARIABLES = {  # of the environment, that change what is computed
    "keras": ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "NVIDIA_TF32_OVERRIDE", "XLA_FLAGS"),
    "tensorflow": ("TF_DETERMINISTIC_OPS", "TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS"),
    "jax": ("JAX_DEFAULT_DTYPE_BITS", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_ENABLE_X64"),
}
CHOSEN = {  # what kpipe sets where the user set nothing
    # oneDNN's convolutions, which TensorFlow takes by itself with AVX-512 VNNI; with AVX2 they save a fifth to a third as well
    "tensorflow": {"TF_ENABLE_ONEDNN_OPTS": "1"},
    "jax": dict[str, str](),
}
CUDA_PACKAGES = {  # without one of them a backend sees no GPU
    "tensorflow": ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
    "jax": ("jax-cuda12-plugin", "jax-cuda13-plugin"),
}
CUDA_LIBRARIES = (  # compute on one, where they are installed
    *("jax-cuda12-pjrt", "nvidia-cublas-cu12", "nvidia-cudnn-cu12"),
    *("jax-cuda13-pjrt", "nvidia-cublas", "nvidia-cudnn-cu13"),
)
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml", "cv2": "opencv-python"}


def python_minor() -> str:
    """Python's version as it enters a key: 3.11."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@cache
def version(distribution: str) -> str | None:
    """Version of an installed distribution, or None."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def surroundings(imports: Iterable[str], backend: str | None) -> dict[str, Any]:
    """What of the outside world enters a key; `backend` is None for code that does not import keras."""
    return {
        "python": python_minor(),
        "packages": package_versions(imports, but=KERAS_PACKAGES if backend else frozenset()),
        "keras": keras_identity(backend) if backend else None,
    }


def package_versions(imports: Iterable[str], but: frozenset[str] = frozenset()) -> dict[str, str]:
    """Versions of the distributions behind top-level import names, `but` those that `keras_identity` tells."""
    return dict(map(name_and_version, sorted(set(imports) - but)))


def name_and_version(import_name: str) -> tuple[str, str]:
    """The distribution that provides an import name, and its version ("absent" where it is not installed)."""
    name = DISTRIBUTIONS.get(import_name, import_name)
    found = version(name)
    if found is None:
        name, found = provider(import_name)
    return name, found


def forget_versions() -> None:
    """Look at the installed distributions anew: a process that lives long may see them change."""
    version.cache_clear()
    provider.cache_clear()


@cache
def provider(import_name: str) -> tuple[str, str]:
    """Slow search (about 160 ms) for a distribution whose name differs from what it lets one import."""
    from importlib import metadata

    names = sorted(set(metadata.packages_distributions().get(import_name, [])))
    if not names:
        return import_name, loose_module(import_name)
    return "+".join(names), "+".join(metadata.version(n) for n in names)


def loose_module(import_name: str) -> str:
    """The content of a module that no distribution has but Python would find; "absent" where it would not."""
    try:
        spec = find_spec(import_name)
    except ValueError:
        spec = None
    places = [*(spec.submodule_search_locations or []), *([spec.origin] if spec.origin else [])] if spec else []
    files = sorted(f for p in map(Path, places) for f in (p.rglob("*.py") if p.is_dir() else [p] if p.is_file() else []))
    return digest_value([[f.name, digest_file(f)] for f in files])[:16] if files else "absent"


def keras_home() -> Path:
    """Keras's folder, as Keras itself finds it."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras").expanduser()


def keras_settings() -> dict[str, Any]:
    """What keras.json says, or nothing."""
    try:
        found = json.loads((keras_home() / "keras.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def keras_config() -> dict[str, Any]:
    """What Keras begins with: its defaults and what keras.json says instead."""
    defaults = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}
    settings = keras_settings()
    return {name: settings.get(name, default) for name, default in defaults.items()}


def keras_identity(backend: str) -> dict[str, Any]:
    """Everything about Keras that can change a number."""
    device = device_kind(backend)
    libraries = (*CUDA_PACKAGES[backend], *CUDA_LIBRARIES) if device == "gpu" else ()
    return {
        "backend": backend,
        "packages": package_versions(("keras", *BACKENDS[backend])) | {n: v for n in libraries if (v := version(n))},
        **keras_config(),
        "device": device,
        **variables(backend),
    }


def variables(backend: str) -> dict[str, str]:
    """The variables that change what a backend computes, as its process has them."""
    set_here = {name: os.environ[name] for name in (*VARIABLES["keras"], *VARIABLES[backend]) if os.environ.get(name)}
    return CHOSEN[backend] | set_here


def gpus() -> list[str]:
    """Ids of the NVIDIA GPUs this process may use, by device files and CUDA_VISIBLE_DEVICES."""
    present = sorted(Path(p).name.removeprefix("nvidia") for p in glob.glob("/dev/nvidia[0-9]*"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    return [v.strip() for v in visible.split(",") if v.strip() not in ("", "-1")] if present else []


def device_kind(backend: str) -> str:
    """ "gpu" where this machine has one that the installed backend can use, else "cpu"."""
    return "gpu" if gpus() and any(map(version, CUDA_PACKAGES[backend])) else "cpu"
