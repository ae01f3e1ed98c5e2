"""What a training costs: arithmetic by layer, bytes of activations, and how much of the machine's speed was reached."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import keras
import numpy as np

from stages.network import device, flops, graph
from stages.network.augmented import recipe_of
from stages.network.precision import IN_FLOAT32
from stages.training.training import Training

Phases = Sequence[dict[str, Any]]
LONG_ENOUGH = 0.02  # seconds of a matrix product that keeps a device busy
SPENT = 0.2  # seconds of repeating it
LARGEST = 8192


def by_phase(training: Training) -> list[dict[str, Any]]:
    """What every phase computes for one image: FLOPs (a multiply-add is two) and bytes of activations, by layer in a step."""
    return [of_phase(training, number) for number in range(len(training.settings.phases))]


def of_phase(training: Training, number: int) -> dict[str, Any]:
    """The cut that training runs from, what lies below it (computed once an image), and a step's work above it."""
    outline = training.outline(number)  # makes the network's layers learn as they do in the phase
    cut = [] if augments_anew(training) else outline.cut
    above = in_precision(flops.step(training.network, cut), training)
    return {
        "cut": cut,
        "prefix_flops": prefix_flops(training.network, cut),
        "forward_flops": sum(cost.forward for cost in above),
        "step_flops": sum(cost.flops for cost in above),
        "cut_bytes": sum(flops.output_bytes(op) for op in training.network.operations if op.name in cut),
        "tail_bytes": sum(cost.activation_bytes for cost in above),
        "layers": [asdict(cost) for cost in above],
    }


def in_precision(above: Sequence[flops.Cost], training: Training) -> list[flops.Cost]:
    """The same with the activations of layers that compute in lower precision half as large."""
    size = np.dtype(compute_dtype(training)).itemsize
    lower = {layer.name for layer in training.network.layers if layer.name not in IN_FLOAT32}
    return [replace(cost, activation_bytes=cost.activation_bytes * size // 4) if cost.name in lower else cost for cost in above]


def compute_dtype(training: Training) -> str:
    """The type that the fitted layers compute in."""
    return str(keras.DTypePolicy(training.settings.objective.precision).compute_dtype)


def augments_anew(training: Training) -> bool:
    """Whether every epoch shows new images, so that training runs through the whole network."""
    return recipe_of(training.stage).changes and not training.settings.views


def prefix_flops(network: keras.Model, cut: Sequence[str]) -> int:
    """FLOPs from the pixels to the cut, for one image."""
    return sum(map(flops.layer_flops, graph.between(network, [], cut)))


def measures(training: Training, phases: Phases, devices: int) -> dict[str, Any]:
    """Speeds of this process; what depends on the phase is that of the last one. README.md tells what each is."""
    times, last = training.times, phases[-1]
    images = len(training.labels.rows("train"))
    together = devices if device.gpu_devices() else 1  # devices of a CPU share its cores
    peaks = {"train": together * peak_flops_per_second(compute_dtype(training))}
    fitted = sum(len(fit.epochs) * images * phases[number]["step_flops"] for number, fit in times.fitted.items())
    seconds = times.told(images)["step_seconds"]
    speeds = {"train": fitted / seconds if seconds else None}
    if computed := training.stage.measures.get("prefix_computed", []):
        work = sum(part["images"] * prefix_flops(training.network, part["cut"]) for part in computed)
        peaks["prefix"] = together * peak_flops_per_second("float32")
        speeds["prefix"] = work / sum(part["seconds"] for part in computed)
    return {
        "forward_flops": sum(map(flops.layer_flops, training.network.layers)),
        "prefix_flops": last["prefix_flops"],
        "step_flops": last["step_flops"],
        "activation_bytes": training.stored_bytes,
        "tail_activation_bytes": last["tail_bytes"],
        "peak_flops_per_second": peaks["train"],
        **{f"{name}_flops_per_second": speed for name, speed in speeds.items()},
        **{f"{name}_share_of_peak": speed and speed / peaks[name] for name, speed in speeds.items()},
    }


@cache
def peak_flops_per_second(dtype: str) -> float:
    """Speed of the fastest of some products of two square matrices on one device: what this machine can do at most."""
    size = LARGEST if device.gpu_devices() else 1024
    while (seconds := fastest_product(size, dtype)) < LONG_ENOUGH and size < LARGEST:
        size *= 2
    return 2 * size**3 / seconds


def fastest_product(size: int, dtype: str) -> float:
    """Seconds of the fastest of at least two products; the first one, which may compile, is not among them."""
    values = np.random.default_rng(0).standard_normal((size, size), np.float32)
    matrix = keras.ops.cast(keras.ops.convert_to_tensor(values), dtype)
    taken: list[float] = []
    while len(taken) < 3 or sum(taken[1:]) < SPENT:
        began = time.perf_counter()
        keras.ops.convert_to_numpy(keras.ops.matmul(matrix, matrix)[:1, :1])
        taken.append(time.perf_counter() - began)
    return min(taken[1:])
