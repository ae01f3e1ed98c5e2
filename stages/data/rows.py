"""Rows of .npy files, read from the disk when they are asked for."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Part = tuple[Path, NDArray[np.int64]]  # a .npy file, and which row of the whole each of its rows is


class Rows:
    """Rows of one or several .npy files: `rows[numbers]` reads these, in any order, and from several threads at once.

    They are read by position and not through a memory map: mapped pages would count as memory of this process, and a
    disk that fails would kill it instead of raising OSError.
    """

    def __init__(self, parts: Sequence[Part], total: int) -> None:
        mapped = [np.load(path, mmap_mode="r") for path, _ in parts]
        self.dtype, self._row = mapped[0].dtype, mapped[0].shape[1:]
        self._bytes: int = math.prod(self._row) * self.dtype.itemsize
        self._files = [os.open(path, os.O_RDONLY) for path, _ in parts]
        for file in self._files:
            weakref.finalize(self, os.close, file)
        self._file = np.full(total, -1, np.int16)  # which file has a row; -1: none
        self._place = np.zeros(total, np.int64)  # where in it
        for number, (array, (_, rows)) in enumerate(zip(mapped, parts, strict=True)):
            self._file[rows], self._place[rows] = number, array.offset + np.arange(len(rows)) * self._bytes

    @classmethod
    def of(cls, path: Path) -> Rows:
        """All rows of one file."""
        total = len(np.load(path, mmap_mode="r"))
        return cls([(path, np.arange(total))], total)

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array that has all rows."""
        return (len(self._file), *self._row)

    @property
    def nbytes(self) -> int:
        """Of the rows that are there."""
        return int((self._file >= 0).sum()) * self._bytes

    def __len__(self) -> int:
        return len(self._file)

    def __getitem__(self, numbers: NDArray[np.integer[Any]] | Sequence[int]) -> NDArray[Any]:
        files, places = self._file[numbers], self._place[numbers]
        if (files < 0).any():
            raise IndexError("a row that is not stored")
        read = np.empty((len(files), *self._row), self.dtype)
        for row, file, place in zip(read, files.tolist(), places.tolist(), strict=True):
            if os.preadv(self._files[file], [row], place) != self._bytes:
                raise OSError("a file ends before its last row")
        return read

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[np.arange(len(self))].astype(dtype or self.dtype, copy=False)
