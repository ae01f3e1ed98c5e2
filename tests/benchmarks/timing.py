"""Times commands as a person meets them: a fresh process each, in turn with what it is compared with."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

SETTLE_S = 3.0  # a time stamp this old is believed by every tool that is measured
BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024
NOT_INHERITED = ("KERAS_BACKEND", "KPIPE_STORE", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")


@dataclass(frozen=True)
class Command:
    """A command line, where it runs, and in what environment."""

    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Sample:
    """One process: seconds on the clock and on all cores, its peak of resident memory."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Side:
    """One of the commands compared, and how often a text is in its output when it does what is to be measured."""

    command: Command
    text: str
    times: int = 1
    before: Callable[[], None] = lambda: None  # not timed

    def sample(self) -> Sample:
        """Run it once; RuntimeError where it did something else."""
        self.before()
        sample, output = timed(self.command)
        if output.count(self.text) != self.times:
            line = " ".join(self.command.arguments)
            raise RuntimeError(f'{line}: "{self.text}" is not {self.times} times in\n{output[-2000:]}')
        return sample


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what would change the measured command."""
    return {k: v for k, v in os.environ.items() if k not in NOT_INHERITED} | more


def kpipe(folder: Path, *arguments: str, **more: str) -> Command:
    """kpipe as it is installed for this Python."""
    return Command((sys.executable, "-m", "kpipe", *arguments), folder, environment(**more))


def timed(command: Command) -> tuple[Sample, str]:
    """Run a command to its end; the sample, and what it printed. RuntimeError where it fails.

    The kernel counts a child's memory from the fork on, so no peak below this process's own can be seen: it stays small.
    Output goes to a file, so that no reader slows the command down. Memory is that of the largest process it started.
    """
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command.arguments, cwd=command.folder, env=command.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read().decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"{' '.join(command.arguments)}: exit code {process.returncode}\n{said[-2000:]}")
    return Sample(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * BYTES_OF_MAXRSS), said


def own_peak_bytes() -> int:
    """Peak of resident memory of this very process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_OF_MAXRSS


def interleaved(
    sides: Mapping[str, Side], repetitions: int, before_round: Callable[[], None] = lambda: None, warm: bool = True
) -> dict[str, list[Sample]]:
    """Samples of every side, taken in turn, another side first in every round; `warm` runs all once before, not counted."""
    for side in sides.values() if warm else ():
        side.sample()
    found: dict[str, list[Sample]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(repetitions):
        before_round()
        for name in names[number % len(names) :] + names[: number % len(names)]:
            found[name].append(sides[name].sample())
            print(f"  {number + 1}/{repetitions} {name}: {found[name][-1].seconds:.3f} s", file=sys.stderr, flush=True)
    return found
