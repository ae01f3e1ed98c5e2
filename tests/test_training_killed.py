"""kpipe and its worker killed with SIGKILL in the middle of a training: the next run ends with the same bytes; slow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.pictures import write_splits
from tests.projects import copy_stages

ROOT = Path(__file__).resolve().parents[1]
KILLED_AFTER = (2, 3)  # checkpoints written by the first attempt, and by the second
PATIENCE_S = 300.0
pytestmark = [pytest.mark.slow, pytest.mark.cpu]

PIPELINE = """
[pipeline]
name = "photos"

[stages.ingest]
run = "stages.ingest"
[stages.ingest.params]
source = "photos"
image_size = 32

[stages.preprocess]
run = "stages.preprocess"
needs = ["ingest"]
[stages.preprocess.params]
model = "resnet50"

[stages.build]
run = "stages.build"
needs = ["preprocess"]
[stages.build.params]
model = "resnet50"
weights = "random"

[stages.train]
run = "stages.train"
needs = ["ingest", "preprocess", "build"]
[stages.train.params]
unfreeze = 8
epochs = 40
batch_size = 4
pooling = "flatten"
units = 16
dropout = 0.3
learning_rate = 1e-4
schedule = "cosine"
"""


class Killed:
    """A project of its own on one backend."""

    def __init__(self, root: Path, backend: str) -> None:
        self.root = root
        self.environment = {k: v for k, v in os.environ.items() if k != "KPIPE_STORE"} | {"KERAS_BACKEND": backend}
        copy_stages(root)
        write_splits(root / "photos")
        (root / "pipeline.toml").write_text(PIPELINE)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "kpipe", "run", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=self.root, env=self.environment, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload,no-any-return]

    def finish(self, *arguments: str) -> str:
        process = self.start(*arguments)
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return said

    def kill_after(self, checkpoints: int) -> None:
        """Run until so many checkpoints were written, and a little longer, into an epoch; then kill everything."""
        process, seen, began = self.start(), set(), time.monotonic()
        while len(seen) < checkpoints:
            assert process.poll() is None and time.monotonic() - began < PATIENCE_S, process.communicate()[0]
            seen |= checkpoints_in(self.root / ".kpipe")
            time.sleep(0.002)
        for worker in children(process.pid):
            os.kill(worker, signal.SIGKILL)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def trained(self) -> bytes:
        (model,) = self.root.glob(".kpipe/objects/*/model.keras")
        return model.read_bytes()


def checkpoints_in(folder: Path) -> set[tuple[int, int]]:
    """Inode and time of every checkpoint below, while a run writes, moves and removes folders there."""
    found = set()
    for name, _, files in os.walk(folder):  # passes over folders that go; Path.glob of Python 3.11 raises
        if "checkpoint.npy" in files:
            with suppress(FileNotFoundError):
                status = os.stat(os.path.join(name, "checkpoint.npy"))
                found.add((status.st_ino, status.st_mtime_ns))
    return found


def children(pid: int) -> list[int]:
    """Processes whose parent this is, and theirs."""
    own = [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    return [*own, *(below for child in own for below in children(child))]


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_killed_training_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, backend: str) -> None:
    undisturbed, killed = (Killed(tmp_path / name, backend) for name in ("undisturbed", "killed"))
    undisturbed.finish()
    killed.finish("--until", "build")
    for checkpoints in KILLED_AFTER:
        killed.kill_after(checkpoints)
    said = killed.finish()
    epochs = [int(line.rsplit(" ", 1)[1]) for line in said.splitlines() if "cut off, and went on after epoch" in line]
    assert len(epochs) == 1 and sum(KILLED_AFTER) - 1 <= epochs[0] < 40, said
    assert killed.trained() == undisturbed.trained()
