"""Large .npy files whose room on the disk is known to be there before anything is written."""

from __future__ import annotations

import math
import os
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kpipe.stage import StageError


def refuse_full(folder: Path, needed: int, what: str, hint: str) -> None:
    """StageError where `needed` bytes, which `what` takes, are not free on the folder's disk."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StageError(f"{what} take {size(needed)}, and {size(free)} are free", hint=hint)


def size(number: float) -> str:
    """Bytes in words, with the unit that fits."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.1f} GB"


class RowFile:
    """Rows of a new .npy file, written by position, from several threads at once: pages of a memory map count as memory.

    `close()` ends it; so does the end of the object.
    """

    def __init__(self, array: np.memmap[Any, np.dtype[Any]]) -> None:
        self._row, self._dtype, self._start = array.shape[1:], array.dtype, array.offset
        self._bytes = math.prod(self._row) * self._dtype.itemsize
        self._file = os.open(str(array.filename), os.O_WRONLY)
        self.close = weakref.finalize(self, os.close, self._file)

    def __setitem__(self, row: int, values: NDArray[Any]) -> None:
        if values.shape != self._row or values.dtype != self._dtype:
            raise ValueError(f"a row is {self._dtype} {self._row}, not {values.dtype} {values.shape}")
        rest = np.ascontiguousarray(values).data.cast("B")
        place = self._start + row * self._bytes
        while rest:
            written = os.pwrite(self._file, rest, place)
            rest, place = rest[written:], place + written


def new_array(path: Path, dtype: DTypeLike, shape: Sequence[int], what: str, hint: str) -> np.memmap[Any, np.dtype[Any]]:
    """A new memory-mapped .npy file; StageError where it does not fit.

    Its blocks are reserved: where the disk fills up behind a memory map, the kernel kills the process without a word.
    """
    refuse_full(path.parent, math.prod(shape) * np.dtype(dtype).itemsize, what, hint)
    array = np.lib.format.open_memmap(path, "w+", dtype, tuple(shape))
    if hasattr(os, "posix_fallocate"):  # macOS has none
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as e:  # a quota, or what others wrote in the meantime
                raise StageError(f"{what} do not fit on the disk: {e.strerror}", hint=hint) from None
    return array
