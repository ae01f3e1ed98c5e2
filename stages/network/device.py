"""The device that Keras computes on: its name, its settings, and the peak of its memory."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras

from kpipe.stage import StageError

CLEAR_PEAK = "5"  # proc(5): writing it to clear_refs resets VmHWM, the process's peak of resident memory


def prepare() -> str:
    """Let TensorFlow grow its share of GPU memory instead of taking all; returns the device's name.

    Also starts a new measurement of peak memory. JAX is told about memory by its environment, before it is imported.
    StageError where GPUs were assigned and the backend sees none: it would compute on the CPU without a word.
    """
    gpus = gpu_devices()
    assigned = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if assigned not in ("", "-1") and not gpus:
        raise StageError(
            f"GPU {assigned} was assigned, but {keras.backend.backend()} sees none",
            hint='mend the driver or the CUDA packages, or set CUDA_VISIBLE_DEVICES="" to compute on the CPU',
        )
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for number, gpu in enumerate(gpus):
            try:
                tf.config.experimental.set_memory_growth(gpu, True)
            except RuntimeError:  # already in use, by an earlier stage that came through here too
                tf.config.experimental.reset_memory_stats(f"GPU:{number}")
    elif not gpus:
        from stages.network import small_maps

        small_maps.pad_first()
    with suppress(OSError):  # not Linux, or not allowed: the peak is then that of the process's whole life
        Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
    return gpu_name(gpus[0]) if gpus else cpu_name()


def gpu_devices() -> list[Any]:
    """The GPUs that the backend computes on, as its own objects."""
    if keras.backend.backend() == "jax":
        import jax

        return [device for device in jax.devices() if device.platform != "cpu"]
    import tensorflow as tf

    return list(tf.config.list_physical_devices("GPU"))


def gpu_peak_bytes(gpu: Any, number: int) -> int:
    """The peak of one GPU's memory, as the backend allocated it; `number` counts the GPUs that this process sees."""
    if keras.backend.backend() == "jax":
        return int((gpu.memory_stats() or {}).get("peak_bytes_in_use", 0))
    import tensorflow as tf

    return int(tf.config.experimental.get_memory_info(f"GPU:{number}")["peak"])


def gpu_name(gpu: Any) -> str:
    """The product name of a GPU."""
    if keras.backend.backend() == "jax":
        return str(gpu.device_kind)
    import tensorflow as tf

    return str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))


def cpu_name() -> str:
    """The CPU with the widest vector unit that it has, for instance "cpu (AVX-512)"."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return "cpu"
    vectors = [name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("asimd", "NEON")) if flag in flags]
    return f"cpu ({vectors[0]})" if vectors else "cpu"


def peak_memory_bytes() -> int:
    """The peak since prepare(): of the fullest GPU's memory where there are any, else of this process's resident memory.

    JAX counts from the beginning of the process on.
    """
    gpus = gpu_devices()
    if gpus:
        return max(gpu_peak_bytes(gpu, number) for number, gpu in enumerate(gpus))
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
