"""What it costs to look at a large folder: the first hashing, finding nothing changed, finding one file changed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.benchmarks.declarations import write_declarations
from tests.benchmarks.peers import Peers
from tests.benchmarks.projects import FILE_BYTES, Toy, change_first, write_files, write_project
from tests.benchmarks.table import Row, rate
from tests.benchmarks.timing import SETTLE_S, Sample, Side, interleaved, kpipe, timed

INGEST = Toy("ingest", (), {"source": "data"})
MEMORY = "< 150 MB"
TARGET = f"<= 1, {MEMORY}"


def measure(folder: Path, peers: Peers, files: int, in_each: int, hashings: int, looks: int) -> list[Row]:
    """Rows for the three, on the same files in the same folder for both tools."""
    write_project(folder, [INGEST])
    write_files(folder / "data", files, in_each)
    peers.begin_dvc(folder)
    time.sleep(SETTLE_S)
    size = f"{files:,} files" + (" in one folder" if in_each >= files else "")
    rows = [hashing(folder, peers, files, size, hashings)]
    write_declarations(folder, [INGEST])
    for command in (peers.command("dvc", folder, "repro"), kpipe(folder, "run")):
        timed(command)
    time.sleep(SETTLE_S)
    return [*rows, unchanged(folder, peers, size, looks), changed(folder, peers, size, looks)]


def hashing(folder: Path, peers: Peers, files: int, size: str, repetitions: int) -> Row:
    """Every file is read: nothing is remembered from an earlier look, but the files are in the system's cache."""
    found = interleaved(
        {
            "dvc": Side(
                peers.command("dvc", folder, "add", "--no-commit", "data"),
                "To track the changes with git",
                before=forget(folder, ".home", ".dvc/tmp", ".dvc/cache", "data.dvc", ".gitignore"),
            ),
            "kpipe": Side(kpipe(folder, "plan"), "not run before", before=forget(folder, ".kpipe")),
        },
        repetitions,
    )
    forget(folder, "data.dvc", ".gitignore")()
    rates = tuple(rate(name, samples, files, files * FILE_BYTES) for name, samples in found.items())
    return Row("kpipe plan, first hashing", size, found["kpipe"], MEMORY, "dvc add --no-commit", found["dvc"], rates)


def unchanged(folder: Path, peers: Peers, size: str, repetitions: int) -> Row:
    """Nothing was touched since the last look."""
    found = compare(folder, peers, ("up to date", "ingest  cached"), repetitions)
    return Row("kpipe plan, nothing changed", size, found["kpipe"], TARGET, "dvc status", found["dvc"])


def changed(folder: Path, peers: Peers, size: str, repetitions: int) -> Row:
    """One file got another content since the last look: before each round again."""
    number = count()

    def change() -> None:
        change_first(folder / "data", next(number))
        time.sleep(SETTLE_S)

    change()
    found = compare(folder, peers, ("modified:", "source changed"), repetitions, change)
    return Row("kpipe plan, one file changed", size, found["kpipe"], TARGET, "dvc status", found["dvc"])


def compare(
    folder: Path, peers: Peers, texts: tuple[str, str], repetitions: int, before_round: Callable[[], None] = lambda: None
) -> dict[str, list[Sample]]:
    """Both tools look at the folder; what DVC and kpipe say of it."""
    sides = {"dvc": Side(peers.command("dvc", folder, "status"), texts[0]), "kpipe": Side(kpipe(folder, "plan"), texts[1])}
    return interleaved(sides, repetitions, before_round)


def forget(folder: Path, *names: str) -> Callable[[], None]:
    """An action that removes files and folders of the project."""

    def remove() -> None:
        for path in (folder / name for name in names):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    return remove
