"""Over how many processes the tests are spread, which need a CPU, and the environment in which backends compute."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from kpipe.identity import CHOSEN, gpus

MOST, MOST_SLOW = 4, 2  # each imports TensorFlow: a gigabyte of memory
for settings in CHOSEN.values():  # as kpipe's workers have it; a backend reads it when it is imported
    for name, value in settings.items():
        os.environ.setdefault(name, value)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs have it, and all that they start
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Quick tests: a process for each core. Two where slow ones are among them, which train on all cores at real size but wait
    for compilers and other processes half of the time. None but this one (0) for a single file, so that its output is seen and
    a debugger works, and where there is a GPU, which one process has for itself."""
    alone = len(config.args) == 1 and Path(config.args[0].partition("::")[0]).is_file()
    if alone or gpus():
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = MOST if config.getoption("markexpr") == "not slow" else MOST_SLOW
    return min(cores, most) if cores > 1 else 0


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A GPU adds up in another order each time, so that two trainings there are not the same to the last bit."""
    if item.get_closest_marker("cpu") and gpus():
        pytest.skip("on a GPU, results are the same but for rounding")
