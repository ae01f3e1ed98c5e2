"""Rows of .npy files are read from the disk, whichever file holds them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from stages.data.rows import Rows


def two_files(folder: Path) -> tuple[np.ndarray, Rows]:
    """Ten rows of which one file has the even ones and another the first odd ones; row 9 is in none."""
    whole = np.random.default_rng(0).normal(size=(10, 2, 3)).astype(np.float16)
    parts = {"a": np.arange(0, 10, 2), "b": np.array([5, 1, 7, 3])}
    for name, rows in parts.items():
        np.save(folder / f"{name}.npy", whole[rows])
    return whole, Rows([(folder / f"{name}.npy", rows) for name, rows in parts.items()], 10)


def test_rows_of_several_files_come_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    whole, rows = two_files(tmp_path)
    for asked in ([3, 0, 8, 8, 1], [], [7]):
        assert np.array_equal(rows[np.array(asked, np.int64)], whole[np.array(asked, np.int64)])
    assert (rows.shape, rows.dtype, len(rows), rows.nbytes) == (whole.shape, whole.dtype, 10, 9 * 12)


def test_row_that_no_file_holds_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IndexError, match="not stored"):
        two_files(tmp_path)[1][np.array([1, 9])]


def test_one_file_reads_like_its_array(tmp_path: Path) -> None:
    whole = np.arange(60, dtype=np.uint8).reshape(5, 12)
    np.save(tmp_path / "a.npy", whole)
    rows = Rows.of(tmp_path / "a.npy")
    assert np.array_equal(np.asarray(rows), whole) and np.array_equal(rows[[2, 0]], whole[[2, 0]])


def test_file_that_lost_its_end_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 1000)))
    rows = Rows.of(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:20_000])
    with pytest.raises(OSError, match="ends before"):
        rows[np.array([4])]


def test_several_threads_may_read_at_once(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).normal(size=(200, 50))
    np.save(tmp_path / "a.npy", whole)
    rows = Rows.of(tmp_path / "a.npy")
    with ThreadPoolExecutor(4) as pool:
        for number, read in enumerate(pool.map(lambda i: rows[np.array([i, 199 - i])], range(200))):
            assert np.array_equal(read, whole[[number, 199 - number]])


def test_files_are_closed_when_nobody_reads_them_any_more(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 10)))
    before = len(os.listdir("/dev/fd"))
    kept = [Rows.of(tmp_path / "a.npy") for _ in range(20)]
    assert len(os.listdir("/dev/fd")) >= before + 20
    kept.clear()
    assert len(os.listdir("/dev/fd")) == before
