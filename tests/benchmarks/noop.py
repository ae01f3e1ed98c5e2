"""What it costs to find that nothing has to be done: six stages on a folder of small files, in kpipe and in other tools."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.declarations import write_declarations
from tests.benchmarks.peers import Peers
from tests.benchmarks.projects import SIX_STAGES, write_files, write_project
from tests.benchmarks.table import Row, seconds
from tests.benchmarks.timing import SETTLE_S, Command, Side, environment, interleaved, kpipe, timed

TARGETS = {"dvc": "<= 0.25"}
ARGUMENTS = {"dvc": ("repro",), "snakemake": ("--cores", "1"), "pytask": ()}
NOTHING_TO_DO = {  # what each prints, and how often
    "dvc": ("didn't change, skipping", len(SIX_STAGES)),
    "snakemake": ("Nothing to be done", 1),
    "pytask": ("Skipped because unchanged", 1),
}


def measure(folder: Path, peers: Peers, names: Sequence[str], files: int, repetitions: int) -> list[Row]:
    """A row for every peer."""
    write_project(folder, SIX_STAGES)
    write_declarations(folder, SIX_STAGES)
    write_files(folder / "data", files, in_each=1000)
    peers.begin_dvc(folder)
    time.sleep(SETTLE_S)
    lines = {name: peers.command(name, folder, *ARGUMENTS[name]) for name in names} | {"kpipe": kpipe(folder, "run")}
    for line in lines.values():
        timed(line)  # everything is computed
        timed(line)  # and the outputs' young time stamps are looked at again
        time.sleep(SETTLE_S)
    sides = {name: Side(lines[name], *NOTHING_TO_DO[name]) for name in names}
    sides["kpipe"] = Side(lines["kpipe"], " cached", len(SIX_STAGES))
    sides["python"] = Side(Command((sys.executable, "-c", "pass"), folder, environment()), "", 1)
    found = interleaved(sides, repetitions)
    size, floor = f"6 stages, {files:,} files", f"an empty Python process: {seconds(found['python'])}"
    peer_rows = [Row("kpipe run, no-op", size, found["kpipe"], TARGETS.get(n, ""), title(lines[n]), found[n]) for n in names]
    return [replace(peer_rows[0], remarks=(floor,)), *peer_rows[1:]]


def title(command: Command) -> str:
    """A command line in the table: without the folder of the program."""
    return " ".join((Path(command.arguments[0]).name, *command.arguments[1:]))
