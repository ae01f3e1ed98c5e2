"""The machine and the revision a result was made on: told in the report, never part of a key."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

from kpipe.digest import digest_value
from kpipe.identity import gpus


@cache
def describe_host() -> dict[str, Any]:
    """Machine type, processor, cores this process may use, bytes of memory, ids of GPUs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    system = f"{platform.system()} {platform.release()}"
    return {
        "machine": platform.machine(), "system": system, "cpu": cpu_name(),
        "cores": cores, "memory_bytes": memory, "gpu": gpus(),
    }  # fmt: skip


def processor() -> str:
    """Short digest of what programs compiled for this processor depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return digest_value([platform.machine(), cpu_name(), features])[:16]


def cpu_name() -> str:
    """The processor's model name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def git_commit(root: Path) -> str | None:
    """The commit that the project's folder is at, read from the files of git; None outside a repository."""
    folder = next((p / ".git" for p in (root, *root.parents) if (p / ".git").is_dir()), None)
    if folder is None:
        return None
    try:
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (folder / name).is_file():
            return (folder / name).read_text().strip()
        packed = (folder / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(" " + name)), None)
    except OSError:
        return None
