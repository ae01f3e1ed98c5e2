"""The engine's speed and memory against DVC (with --all also Snakemake and pytask), measured in turn on one machine.

    python -m tests.benchmarks.engine --quick            a first look, about two minutes
    python -m tests.benchmarks.engine --peers ~/peers    the real sizes, 20 minutes; the peers stay installed for the next time

TMPDIR names the disk that is measured on: 4 GB must be free there. Nothing else should be running.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kpipe import __version__
from kpipe.host import describe_host, git_commit
from tests.benchmarks import folders, instances, noop
from tests.benchmarks.peers import Peers
from tests.benchmarks.table import Row, render
from tests.benchmarks.timing import own_peak_bytes

LEGEND = "median (smallest..largest) of fresh processes taken in turn; kpipe/peer of each round; peak of resident memory"
SECTIONS = ("noop", "instances", "folders")


@dataclass(frozen=True)
class Sizes:
    """How much is measured, and how often."""

    noop_files: int
    axis_values: int
    folder_files: int
    noops: int
    plans: int
    hashings: int
    looks: int


FULL = Sizes(noop_files=5000, axis_values=50, folder_files=200_000, noops=15, plans=7, hashings=3, looks=5)
QUICK = Sizes(noop_files=500, axis_values=10, folder_files=5000, noops=3, plans=3, hashings=2, looks=3)


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.engine", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few repetitions: to try the command")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="where the other tools are, or are to be, installed")
    parser.add_argument("--all", action="store_true", help="the no-op run against Snakemake and pytask as well")
    parser.add_argument("--flat", action="store_true", help="the large folder also without sub-folders")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="this measurement alone; may be repeated")
    return parser.parse_args(argv)


def measure(asked: argparse.Namespace, work: Path, peers: Peers) -> Iterator[Row]:
    """The rows of what was asked for."""
    sizes = QUICK if asked.quick else FULL
    chosen = asked.only or SECTIONS
    names = ("dvc", "snakemake", "pytask") if asked.all and "noop" in chosen else ("dvc",)
    for name in names if set(chosen) != {"instances"} else ():
        peers.install(name)
    if "noop" in chosen:
        yield from noop.measure(work / "noop", peers, names, sizes.noop_files, sizes.noops)
    if "instances" in chosen:
        yield from instances.measure(work / "instances", sizes.axis_values, sizes.plans)
    for in_each in (1000, sizes.folder_files)[: 1 + asked.flat] if "folders" in chosen else ():
        folder = work / f"folders-{in_each}"
        yield from folders.measure(folder, peers, sizes.folder_files, in_each, sizes.hashings, sizes.looks)


def machine() -> list[str]:
    """What the figures were taken on."""
    host = describe_host()
    commit = git_commit(Path(__file__).resolve().parents[2])
    return [
        f"{host['cpu']}, {host['cores']} cores, {host['memory_bytes'] / 2**30:.0f} GiB, {host['system']}, load {os.getloadavg()[0]:.1f}",
        f"Python {platform.python_version()}, kpipe {__version__}" + (f" at {commit[:12]}" if commit else ""),
    ]


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    asked = arguments(argv)
    described = machine()  # before this command itself is a load
    with tempfile.TemporaryDirectory(prefix="kpipe-benchmark-") as work:
        peers = Peers(asked.peers or Path(work) / "peers")
        rows = list(measure(asked, Path(work), peers))
        own_peak = own_peak_bytes()  # now: removing the files takes more
    print("$ " + shlex.join(["python", "-m", "tests.benchmarks.engine", *argv]))
    print("\n".join([*described, *peers.installed.values(), "", render(rows)]))
    print(f"\n{LEGEND}; no peak below this command's own {own_peak / 1e6:.0f} MB can be seen")


if __name__ == "__main__":
    main(sys.argv[1:])
