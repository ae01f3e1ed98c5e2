"""A worker gives back what an earlier stage no longer needs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kpipe.executors.environment import KEEP_MEMORY

MEASURED = """
from pathlib import Path
from kpipe.worker import give_back_free_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20

pieces = [bytearray(2**20) for _ in range(300)]
last = bytearray(2**16)  # above them on the heap: glibc would keep what is below
used = resident()
del pieces
kept = resident()
give_back_free_memory()
print(used - kept, used - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux") or os.confstr("CS_GNU_LIBC_VERSION") is None, reason="glibc's heap")
def test_memory_that_is_free_between_stages_is_the_systems() -> None:
    command = [sys.executable, "-c", MEASURED]
    done = subprocess.run(command, env=os.environ | KEEP_MEMORY, capture_output=True, text=True, check=True)
    kept_by_glibc, given_back = map(int, done.stdout.split())
    assert kept_by_glibc < 50 and given_back > 250
