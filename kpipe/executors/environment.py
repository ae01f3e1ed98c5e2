"""The environment that a worker process starts with: what backends read must be there before they are imported."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from kpipe.host import processor
from kpipe.identity import variables
from kpipe.task import Task

KEEP_MEMORY = {  # glibc gives every large tensor back to the system and takes it anew, page by page: a third of a CPU step
    "MALLOC_MMAP_THRESHOLD_": str(8 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
THREADS = (  # NPROC is what XLA's CPU client reads
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC",
)  # fmt: skip


def environment(task: Task, slots: int) -> dict[str, str]:
    """What a worker of this kind starts with; what the user set wins."""
    found = dict(os.environ)
    found.pop("KERAS_BACKEND", None)
    if task.backend:
        found["KERAS_BACKEND"] = task.backend
        found["CUDA_VISIBLE_DEVICES"] = ",".join(task.gpus)
        found |= variables(task.backend)
        found.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        found["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        found["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        if task.backend == "jax":
            found = compiled(Path(task.store)) | found
        if not task.gpus:
            found = KEEP_MEMORY | {"JAX_PLATFORMS": "cpu"} | found
    if slots > 1:
        threads = str(max(1, (os.cpu_count() or 1) // slots))
        for name in THREADS:
            found.setdefault(name, threads)
    found["PYTHONHASHSEED"] = "0"
    return found


def compiled(store: Path) -> dict[str, str]:
    """JAX's own cache of compiled programs, below the store: one for each kind of processor, whose instructions they are."""
    folder = store / "compiled" / f"jax-{processor()}"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)  # the time of last use, for gc
    return {"JAX_COMPILATION_CACHE_DIR": str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5"}
