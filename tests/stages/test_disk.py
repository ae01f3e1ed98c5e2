"""A disk that is too full is told of before anything large is written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kpipe.stage import Stage, StageError
from stages import disk, ingest
from stages.data import decoded


@pytest.fixture
def almost_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())


@pytest.fixture
def megabyte(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_new_array_is_a_npy_file_of_zeros_that_can_be_written(tmp_path: Path) -> None:
    array = disk.new_array(tmp_path / "a.npy", np.float16, (3, 4), "three rows", "")
    assert array.shape == (3, 4) and not array.any()
    array[1] = 2
    array.flush()
    assert np.load(tmp_path / "a.npy").tolist() == [[0] * 4, [2] * 4, [0] * 4]


def test_rows_are_written_by_several_threads_to_where_they_belong(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (300, 5, 7, 3), dtype=np.uint8)
    rows = disk.RowFile(disk.new_array(tmp_path / "a.npy", np.uint8, whole.shape, "rows", ""))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda row: rows.__setitem__(row, whole[row]), np.random.default_rng(1).permutation(299)))
    rows[299] = np.asfortranarray(whole[299])
    rows.close()
    assert np.array_equal(np.load(tmp_path / "a.npy"), whole)


def test_row_of_another_shape_or_type_is_an_error(tmp_path: Path) -> None:
    rows = disk.RowFile(disk.new_array(tmp_path / "a.npy", np.uint8, (3, 4), "rows", ""))
    for wrong in (np.zeros(5, np.uint8), np.zeros((2, 4), np.uint8), np.zeros(4, np.float32)):
        with pytest.raises(ValueError, match=r"a row is uint8 \(4,\)"):
            rows[0] = wrong


@pytest.mark.usefixtures("almost_full")
def test_what_does_not_fit_is_refused_with_both_sizes(tmp_path: Path) -> None:
    disk.new_array(tmp_path / "fits.npy", np.float32, (250,), "250 numbers", "")
    with pytest.raises(StageError, match=r"a million numbers take 4 MB, and 1 kB are free") as caught:
        disk.new_array(tmp_path / "large.npy", np.float32, (1000, 1000), "a million numbers", "free some space")
    assert caught.value.hint == "free some space" and not (tmp_path / "large.npy").exists()


@pytest.mark.parametrize(
    ("number", "words"), [(999, "999 bytes"), (25_600, "25.6 kB"), (5e8, "500 MB"), (1.234e12, "1,234.0 GB")]
)
def test_sizes_are_told_in_the_unit_that_fits(number: float, words: str) -> None:
    assert disk.size(number) == words


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="blocks cannot be reserved here")
def test_disk_that_fills_up_meanwhile_is_an_error_and_not_a_crash(megabyte: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1e9})())
    with pytest.raises(StageError, match="a block do not fit on the disk: No space left on device"):
        disk.new_array(megabyte / "a.npy", np.uint8, (2_000_000,), "a block", "")


@pytest.mark.usefixtures("almost_full")
def test_pictures_are_not_decoded_where_their_pixels_would_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(3):
            shade = 40 * number + 20 * (name == "cats")
            Image.new("RGB", (20, 20), (shade, 0, 0)).save(tmp_path / "pets" / name / f"{number}.png")
    monkeypatch.setattr(decoded, "prepare", None)
    stage = Stage(out=tmp_path / "out", store=tmp_path / "store")
    with pytest.raises(StageError, match=r"6 decoded images take 18.4 kB, and 1 kB are free") as caught:
        ingest.run(stage, source=tmp_path / "pets", image_size=32)
    assert "image_size" in (caught.value.hint or "")
