"""What a branch cost: where its seconds went, what it computed, and how fast."""

from __future__ import annotations

from typing import Any

from stages.reporting.results import Result
from stages.reporting.wording import fixed, flops

SPENT = {  # heading -> stage and measure, in the order in which things happen
    "reading images": ("ingest", "decode_seconds"),
    "activations": ("train", "prefix_seconds"),
    "until the first step": ("train", "first_step_seconds"),
    "compiling": ("train", "compile_seconds"),
    "steps": ("train", "step_seconds"),
    "validation": ("train", "validation_seconds"),
    "training in all": ("train", "train_seconds"),
    "evaluation": ("evaluate", "evaluate_seconds"),
}
COMPUTED = (
    "forward_flops", "prefix_flops", "step_flops", "activation_bytes", "tail_activation_bytes", "prefix_flops_per_second",
    "prefix_share_of_peak", "train_flops_per_second", "train_share_of_peak", "peak_flops_per_second", "devices",
)  # fmt: skip
MANY = 32  # images in the larger batch whose latency evaluate measures
ANSWERED = (
    *(f"latency_batch_{size}_{name}" for size in (1, MANY) for name in ("seconds", "p95_seconds", "calls")),
    "model_bytes",
)  # by evaluate


def spent(result: Result) -> dict[str, Any]:
    """Seconds by heading; None where a stage did not tell."""
    return {heading: result.measure(*where) for heading, where in SPENT.items()}


def columns(result: Result) -> dict[str, Any]:
    """For the table of all branches, under the names of the measures."""
    seconds = {name: result.measure(stage, name) for stage, name in SPENT.values()}
    computed = {name: result.measure("train", name) for name in COMPUTED}
    return {**seconds, **computed, **{name: result.measure("evaluate", name) for name in ANSWERED}}


def latency(result: Result, name: str = "seconds") -> Any:
    """Of one image: the median "seconds", "p95_seconds" or the number of "calls"; None where it was not measured."""
    return result.measure("evaluate", f"latency_batch_1_{name}")


def among_many(result: Result) -> float | None:
    """Seconds for one of the images of a large batch."""
    whole = result.measure("evaluate", f"latency_batch_{MANY}_seconds")
    return whole / MANY if whole else None


def untimed(results: list[Result]) -> list[int]:
    """Numbers of the branches whose latency was not measured."""
    return [result.number for result in results if latency(result) is None]


def calls(results: list[Result]) -> str:
    """`33`, `33 to 500`: how many calls with one image were timed."""
    numbers = sorted({latency(result, "calls") for result in results} - {None})
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def tailless(results: list[Result]) -> bool:
    """Whether some branch was called too seldom to tell its 95th percentile."""
    return any(latency(result) is not None and latency(result, "p95_seconds") is None for result in results)


def timed_on(results: list[Result]) -> list[str]:
    """The devices on which latency was measured, each once; a CPU by its product name where the record tells it."""
    timed = [result for result in results if latency(result) is not None]
    return list(dict.fromkeys(machine(result) for result in timed))


def machine(result: Result) -> str:
    """The device on which a branch was evaluated."""
    device = str(result.measure("evaluate", "device") or "an unknown device")
    cpu = (result.record("evaluate").get("host") or {}).get("cpu")
    return f"{cpu}, {device.removeprefix('cpu').strip(' ()')}".rstrip(", ") if cpu and device.startswith("cpu") else device


def speed(result: Result, part: str) -> str | None:
    """`312 GFLOP/s (0.78)`: what "prefix" or "train" reached, and its share of the machine's measured peak."""
    reached = result.measure("train", f"{part}_flops_per_second")
    if not reached:
        return None
    return f"{flops(reached)}/s ({fixed(result.measure('train', f'{part}_share_of_peak'), 2)})"


def layers(result: Result) -> list[dict[str, Any]]:
    """The layers of a training step that compute something, of every phase; what they cost for one image."""
    return [
        {"phase": number, **layer}
        for number, phase in enumerate(result.costs, 1)
        for layer in phase["layers"]
        if layer["forward"]
    ]
