"""Digests: no two values collide, no stale stamp is believed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from kpipe.digest import SMALL, digest_file, digest_value, framed, hashed
from kpipe.folders import digest_folder
from kpipe.statcache import StatCache, stamp
from kpipe.walk import entries

VALUES = [
    None, True, False, 0, 1, 0.0, -0.0, 1.0, "", "1", "None", "a", ["a"], [["a"]], [], {}, {"a": 1}, {"a": "1"}, ["a", 1], ["a1"],
    {"a": [1, 2]}, {"a": [12]}, ["", ""], [""], [[], []], "\udcc3\udca4", "ä", 10**30, 1e30,
]  # fmt: skip


def test_no_two_values_collide() -> None:
    for a, b in combinations(VALUES, 2):
        assert framed(a) != framed(b), (a, b)


def test_order_of_keys_does_not_count() -> None:
    assert digest_value({"a": 1, "b": 2}) == digest_value({"b": 2, "a": 1})


def test_recent_time_stamp_is_hashed_again(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    cache = StatCache()
    first = digest_file(file, cache)
    info = file.stat()
    file.write_text("two")
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert digest_file(file, cache) != first


def test_settled_time_stamp_is_believed_and_survives_a_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    monkeypatch.setattr("kpipe.statcache.RECENT_NS", -1_000_000_000)
    cache = StatCache(tmp_path / "cache.json")
    digest_file(file, cache)
    cache.save()
    again = StatCache(tmp_path / "cache.json")
    assert again.get(f"sha256:{file}", stamp(file.stat())) == digest_file(file)
    file.write_text("two")
    assert again.get(f"sha256:{file}", stamp(file.stat())) is None


def test_folder_digest_sees_names_contents_kinds_and_empty_folders(tmp_path: Path) -> None:
    seen = {digest_folder(tmp_path)}

    def changed() -> bool:
        value = digest_folder(tmp_path)
        fresh = value not in seen
        seen.add(value)
        return fresh

    (tmp_path / "a").write_text("1")
    assert changed()
    (tmp_path / "a").write_text("2")
    assert changed()
    (tmp_path / "a").rename(tmp_path / "b")
    assert changed()
    (tmp_path / "empty").mkdir()
    assert changed()
    os.mkfifo(tmp_path / "pipe")  # opening it would hang
    assert changed()
    (tmp_path / "empty" / "loop").symlink_to(tmp_path)
    assert changed()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert changed()
    (tmp_path / "a\nb \udcff.txt").write_text("odd name")
    assert changed()


def test_link_counts_as_what_it_points_to(tmp_path: Path) -> None:
    target, folder = tmp_path / "target", tmp_path / "folder"
    folder.mkdir()
    target.write_text("1")
    (folder / "a").symlink_to(target)
    linked = digest_folder(folder)
    (folder / "a").unlink()
    (folder / "a").write_text("1")
    assert digest_folder(folder) == linked


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """An empty folder for a tree that Python's own tools are too recursive to remove."""
    folder = tmp_path / "deep"
    folder.mkdir()
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def dig(folder: Path, levels: int, name: str) -> None:
    """Folders of this name in each other, and a file in the deepest; no path is ever longer than one name."""
    place = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=place)
        inner = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    file = os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=place)
    os.write(file, b"1")
    os.close(file)
    os.close(place)


def test_change_in_the_deepest_of_1500_folders_is_seen(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dig(deep, 1500, "d")
    bottom = "d/" * 1500 + "file"
    found = list(entries(str(deep)))
    assert [entry.kind for entry in found] == ["folder"] * 1500 + ["file"] and found[-1].name == bottom
    before = digest_folder(deep)
    monkeypatch.chdir(deep)
    Path(bottom).write_text("2")
    assert digest_folder(deep) != before


def test_folder_too_deep_for_a_path_is_an_error_that_names_it(deep: Path) -> None:
    dig(deep, 30, "n" * 200)
    with pytest.raises(OSError, match=f"lies too deep.*{deep}/{'n' * 20}") as caught:
        digest_folder(deep)
    assert len(str(caught.value)) < 600


def test_link_to_a_name_that_is_too_long_is_a_broken_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("n" * 300)
    assert [entry.kind for entry in entries(str(tmp_path))] == ["broken"]


def test_folders_that_all_link_to_each_other_are_walked_once_each_and_every_change_in_them_is_seen(tmp_path: Path) -> None:
    folder, others = tmp_path / "folder", [tmp_path / f"other{n}" for n in range(12)]
    folder.mkdir()
    for other in others:
        other.mkdir()
        (other / "file").write_text("1")
        for target in others:
            (other / f"to-{target.name}").symlink_to(target)
    (folder / "in").symlink_to(others[0])
    found = list(entries(str(folder)))
    assert sum(entry.kind == "file" for entry in found) == 12 and len(found) < 12 * 14
    seen = {digest_folder(folder)}
    for other in others:
        (other / "file").write_text("2")
        seen.add(digest_folder(folder))
    (others[3] / "to-other5").unlink()
    (others[3] / "to-other5").symlink_to(others[6])  # another folder that a link has led to before
    seen.add(digest_folder(folder))
    assert len(seen) == 14


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are hashed from here on."""
    read: list[str] = []
    monkeypatch.setattr("kpipe.folders.hashed", lambda path: (read.append(Path(path).name), hashed(path))[1])
    return read


def test_folder_nobody_touched_is_not_read_again_and_of_another_only_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache = tmp_path / "data", StatCache(tmp_path / "store" / "cache" / "files.json")
    for n in range(600):
        (folder / str(n // 100)).mkdir(parents=True, exist_ok=True)
        (folder / str(n // 100) / f'{n} "quoted" ä\n').write_text(str(n))
    monkeypatch.setattr("kpipe.statcache.RECENT_NS", -1_000_000_000)
    read = reads(monkeypatch)
    first = digest_folder(folder, cache)
    assert (len(read), digest_folder(folder, cache)) == (600, first)
    assert len(read) == 600
    (folder / "2" / '250 "quoted" ä\n').write_text("changed")
    second = digest_folder(folder, cache)
    assert read[600:] == ['250 "quoted" ä\n'] and second != first
    assert second == digest_folder(folder)  # without any memory
    (folder / "2" / '250 "quoted" ä\n').write_text("250")
    assert digest_folder(folder, cache) == first


AWKWARD = [
    "a",
    "a-b",
    "a.b",
    "a0/x",
    "a0/x-y",
    "a0/y",
    "b/c/d",
    "b-c/d",
    "b/c-d",
    "\udcc3",
    "Z",
    "ä",
    "é",
    "10",
    "9",
    "😀/z",
    "z",
]


def test_names_that_sort_awkwardly_are_found_again_where_others_came_and_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache = tmp_path / "data", StatCache(tmp_path / "cache.json")
    large = 2 * SMALL

    def write(names: list[str]) -> None:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode("utf-8", "surrogateescape") * (large if len(name) % 2 else 1))

    monkeypatch.setattr("kpipe.statcache.RECENT_NS", -1_000_000_000)
    write(AWKWARD[1::2])
    read = reads(monkeypatch)
    digest_folder(folder, cache)
    write(AWKWARD[::2])
    (folder / AWKWARD[1]).unlink()
    read.clear()
    second = digest_folder(folder, cache)
    assert sorted(read) == sorted(Path(name).name for name in AWKWARD[::2])
    assert second == digest_folder(folder)


def test_damaged_memory_of_a_folder_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = tmp_path / "data", StatCache(tmp_path / "cache.json")
    folder.mkdir()
    for name in "abcd":
        (folder / name).write_text(name)
    monkeypatch.setattr("kpipe.statcache.RECENT_NS", -1_000_000_000)
    first = digest_folder(folder, cache)
    (memory,) = (tmp_path / "cache").iterdir()
    lines = memory.read_text().splitlines(keepends=True)
    for damaged in (["", *lines[1:]], ["x y\n", *lines[1:3], "torn"], [lines[0].replace("a", "b"), lines[1][:-9], *lines[2:]]):
        memory.write_text("".join(damaged))
        assert digest_folder(folder, cache) == first


def test_folder_with_a_file_too_young_to_trust_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = tmp_path / "data", StatCache(tmp_path / "cache.json")
    folder.mkdir()
    (folder / "a").write_text("one")
    read = reads(monkeypatch)
    first = digest_folder(folder, cache)
    info = (folder / "a").stat()
    (folder / "a").write_text("two")
    os.utime(folder / "a", ns=(info.st_atime_ns, info.st_mtime_ns))
    assert digest_folder(folder, cache) != first
    assert read == ["a", "a"]


def test_same_file_under_two_algorithms_has_two_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpipe.statcache.RECENT_NS", -1_000_000_000)
    (tmp_path / "a").write_text("one")
    cache = StatCache()
    assert len(digest_file(tmp_path / "a", cache, "md5")) == 32
    assert len(digest_file(tmp_path / "a", cache)) == 64
