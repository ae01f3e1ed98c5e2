"""What a branch cost: where its seconds went, what it computed, and how fast."""

from __future__ import annotations

from typing import Any

from stages.reporting.results import Result
from stages.reporting.wording import fixed, flops

SPENT = {  # heading -> stage and measure, in the order in which things happen
    "reading images": ("ingest", "decode_seconds"),
    "activations": ("train", "prefix_seconds"),
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


def spent(result: Result) -> dict[str, Any]:
    """Seconds by heading; None where a stage did not tell."""
    return {heading: result.measure(*where) for heading, where in SPENT.items()}


def columns(result: Result) -> dict[str, Any]:
    """For the table of all branches, under the names of the measures."""
    seconds = {name: result.measure(stage, name) for stage, name in SPENT.values()}
    return {**seconds, **{name: result.measure("train", name) for name in COMPUTED}}


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
