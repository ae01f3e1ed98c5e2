"""The figures of one task as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tests.benchmarks.training.arithmetic import Work
from tests.benchmarks.training.peers import PEERS, Result
from tests.benchmarks.training.project import Run

NO_CEILING = 1000  # where hardly anything is left to compute, the arithmetic says nothing of the time
HEAD = (
    "what", "seconds", "peak memory", "validation", "test", "peer/kpipe", "ceiling", "share", "peer/second", "ceiling", "share",
)  # fmt: skip
LEGEND = """seconds: a fresh process from its start to the end of its evaluation. peak memory: resident, of the largest process.
validation, test: accuracy after the last epoch. peer/kpipe: how many times longer the peer takes; ceiling: what the arithmetic
allows for this very work (tests/benchmarks/training/arithmetic.py has the formula); share: the first by the second.
second: another experiment on the same frozen layers, whose activations are in the store; a peer begins again."""
SHORT = """
* {0} epochs were run, and the others taken to be like the last of them; the accuracies are those after {0} epochs."""


def of_task(first: Run, second: Run, peers: Mapping[str, Result], work: Work, peak_flops: float) -> str:
    """The table of one task, and where kpipe's seconds went."""
    sides = [("kpipe", first.result), ("kpipe, second experiment", second.result)]
    rows = [HEAD, *((name, *cells(result)) for name, result in sides)]
    for letter, result in peers.items():
        ratios = ratio(result, first.result, work.ceiling_first), ratio(result, second.result, work.ceiling_second)
        rows.append((f"({letter}) {PEERS[letter][1]}", *cells(result), *ratios[0], *ratios[1]))
    return "\n".join([*aligned(rows), "", *spent("kpipe", first), *spent("second", second), prefix(first, work, peak_flops)])


def cells(result: Result) -> tuple[str, ...]:
    """Time, memory and accuracies."""
    seconds = f"{result.seconds:.1f}{' *' if result.extrapolated else ''}"
    return seconds, f"{result.sample.peak_bytes / 1e6:.0f} MB", f"{result.validation:.3f}", f"{result.test:.3f}"


def ratio(peer: Result, kpipe: Result, ceiling: float) -> tuple[str, ...]:
    """How many times longer a peer takes, the ceiling of that, and the share reached."""
    found = peer.seconds / kpipe.seconds
    if ceiling > NO_CEILING:
        return f"{found:.2f}", "none", "-"
    return f"{found:.2f}", f"{ceiling:.2f}", f"{found / ceiling:.2f}"


def spent(name: str, run: Run) -> Iterator[str]:
    """Where a run's seconds went, by stage, and inside the training."""
    stages = [f"{stage} {seconds:.1f}" for stage, seconds in run.seconds.items()]
    yield f"{name:8}{', '.join([*stages, f'elsewhere {run.elsewhere:.1f}'])} s"
    parts = {
        "activations": run.measure("prefix_seconds"),
        "first step": run.measure("first_step_seconds"),
        "compiling": run.measure("compile_seconds"),
        "fastest epoch": run.measure("epoch_seconds"),
        "validation in all": run.measure("validation_seconds"),
    }
    peaks = [f"{stage} {run.measure('peak_memory_bytes', stage) / 1e6:.0f} MB" for stage in ("train", "evaluate")]
    yield f"{'':8}train: {', '.join(f'{part} {seconds:.2f} s' for part, seconds in parts.items())}; peak of {', '.join(peaks)}"


def prefix(run: Run, work: Work, peak_flops: float) -> str:
    """How fast the activations were computed, by the arithmetic: storing them is in the time."""
    reached = work.prefix_once / run.measure("prefix_seconds")
    return (
        f"activations: {work.prefix_once / 1e9:,.0f} GFLOP at {reached / 1e9:.0f} GFLOP/s, "
        f"{reached / peak_flops:.2f} of this machine's matrix product ({peak_flops / 1e9:.0f} GFLOP/s)"
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns, a rule under the first."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
