"""What kpipe, DVC, Snakemake and pytask make of the same faults, done to the same small project.

    python -m tests.benchmarks.faults --peers ~/peers    two to four minutes; the peers stay installed for the next time

Nothing here is expected of a tool: a cell is what was found. `--said` shows what every command printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kpipe import __version__
from kpipe.host import describe_host
from tests.benchmarks.faults.scenarios import FAULTS, Fault
from tests.benchmarks.faults.tools import PEERS, TOOLS
from tests.benchmarks.faults.trial import Trial
from tests.benchmarks.peers import Peers
from tests.benchmarks.timing import SETTLE_S

LEGEND = """right: the result is what its inputs make it, and nothing ran that need not. stale: an old result is called up to date.
damaged bytes: other bytes than were stored are given as the result. A cache is asked for where results are stored
(Snakemake: --cache; pytask has none, its result itself is damaged)."""


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="where the other tools are, or are to be, installed")
    parser.add_argument("--only", metavar="WORD", default="", help="the faults whose title has this word")
    parser.add_argument("--said", action="store_true", help="what every command printed, on stderr")
    return parser.parse_args(argv)


def measure(faults: Sequence[Fault], work: Path, peers: Peers) -> tuple[list[list[str]], list[Trial]]:
    """What came of it for every fault and tool, and the projects it was done to: all are made first, so that none is young."""
    trials = [[Trial(tool, work / f"{n}-{tool.name}", peers, fault.cached) for tool in TOOLS] for n, fault in enumerate(faults)]
    flat = [trial for row in trials for trial in row]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(Trial.begin, flat))
        time.sleep(SETTLE_S)
        happened = [[pool.submit(fault.happen, trial) for trial in row] for fault, row in zip(faults, trials, strict=True)]
        return [[future.result() for future in row] for row in happened], flat


def table(faults: Sequence[Fault], heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [["what happens", *heads], ["---"] * (len(heads) + 1)]
    lines += [[fault.title, *row] for fault, row in zip(faults, cells, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    asked = arguments(argv)
    faults = [fault for fault in FAULTS if asked.only in fault.title]
    with tempfile.TemporaryDirectory(prefix="kpipe-faults-") as work:
        peers = Peers(asked.peers or Path(work) / "peers")
        for tool in PEERS:
            peers.install(tool.name)
        cells, trials = measure(faults, Path(work), peers)
    if asked.said:
        print("\n".join(f"== {t.folder.name}\n" + "\n".join(t.log) for t in trials), file=sys.stderr)
    versions = [__version__, *(peers.installed[tool.name].split()[1] for tool in PEERS)]
    print("$ " + shlex.join(["python", "-m", "tests.benchmarks.faults", *argv]))
    print(f"{describe_host()['system']}, Python {platform.python_version()}\n")
    print(table(faults, [f"{tool.title} {version}" for tool, version in zip(TOOLS, versions, strict=True)], cells))
    print(f"\n{LEGEND}")


if __name__ == "__main__":
    main(sys.argv[1:])
