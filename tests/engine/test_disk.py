"""Disks that are full, read-only or forbidden, and stores in unusual places."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kpipe
from tests.engine.conftest import ALL, Result, Toy
from tests.engine.test_kills import Victim, assert_nothing_left, damage

Mount = Callable[..., Path]
NO_SPACE, READ_ONLY, DENIED = "No space left on device", "Read-only file system", "Permission denied"
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts a file system in memory: mount(folder, "size=1m")."""
    mounted: list[Path] = []

    def mount(folder: Path, options: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting is not allowed here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, pages: int = 0) -> None:
    """Leave so many pages free."""
    handle = os.open(disk / "filler", os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(handle, bytes(PAGE))
    except OSError:
        os.ftruncate(handle, max(0, os.fstat(handle).st_size // PAGE - pages) * PAGE)
    finally:
        os.close(handle)


def fill_inodes(disk: Path, inodes: int = 0) -> None:
    """Leave room for so many further files and folders."""
    free = os.statvfs(disk).f_ffree
    (disk / "filler").mkdir()
    for n in range(free - 1 - inodes):
        (disk / "filler" / str(n)).touch()


def clear(disk: Path) -> None:
    """Make room again."""
    shutil.rmtree(disk / "filler") if (disk / "filler").is_dir() else (disk / "filler").unlink()


def assert_clear(result: Result, what: str, where: Path) -> None:
    """A failed run says what is wrong, where, and what to do; no traceback but a stage's own."""
    assert result.code == 1, result.err
    assert what in result.err
    assert str(where) in result.err, result.err
    assert "  hint: " in result.err, result.err
    assert f'File "{Path(kpipe.__file__).parent}' not in result.err, result.err


def assert_serves(toy: Toy) -> None:
    """Earlier results are there, whatever the disk is like."""
    result = toy.kpipe("run")
    assert result.code == 0, result.err
    assert result.err.count("  cached\n") == len(ALL), result.err


def run_on_full_disk(toy: Victim, disk: Path, filled: Callable[[Path, int], None], room: int) -> Result:
    """A run that has some room on its disk: it tells what is wrong, spoils nothing, and works once there is more."""
    toy.edit("stages/deep.py", "FACTOR = 10", f"FACTOR = {11 + room}")
    filled(disk, room)
    result = toy.kpipe("run")
    if result.code:
        assert_clear(result, NO_SPACE, disk)
    toy.edit("stages/deep.py", f"FACTOR = {11 + room}", "FACTOR = 10")
    assert_serves(toy)
    clear(disk)
    toy.edit("stages/deep.py", "FACTOR = 10", f"FACTOR = {11 + room}")
    assert toy.ran() <= ALL - {"load"}
    assert toy.report.startswith(f"Toy\na: {(11 + room):.1f} after")
    assert_nothing_left(toy.store)
    toy.edit("stages/deep.py", f"FACTOR = {11 + room}", "FACTOR = 10")
    return result


def on_disk(folder: Path, disk: Path) -> Victim:
    """A project that has run, with its store on a disk of its own."""
    toy = Victim(folder / "project")
    toy.environment["KPIPE_STORE"] = str(disk / "store")
    assert toy.ran() == ALL
    return toy


FILLINGS = [("size=4m", fill), ("size=4m,nr_inodes=2000", fill_inodes)]


@pytest.mark.slow
@pytest.mark.parametrize(("options", "filled"), FILLINGS)
def test_full_disk_is_told_and_spoils_nothing(
    mount: Mount, tmp_path: Path, options: str, filled: Callable[[Path, int], None]
) -> None:
    disk = mount(tmp_path / "disk", options)
    toy = on_disk(tmp_path, disk)
    for room in (0, 2, 6):
        assert run_on_full_disk(toy, disk, filled, room).code == 1
    assert damage(toy.store) == []


@pytest.mark.slow
@pytest.mark.parametrize(("options", "filled"), FILLINGS)
def test_disk_that_is_full_in_any_phase_is_told_and_spoils_nothing(
    mount: Mount, tmp_path: Path, options: str, filled: Callable[[Path, int], None]
) -> None:
    disk = mount(tmp_path / "disk", options)
    toy = on_disk(tmp_path, disk)
    said = ""
    for room in range(100):
        result = run_on_full_disk(toy, disk, filled, room)
        said += result.err
        if result.code == 0 and "notice:" not in result.err:
            break
    assert "its output cannot be stored" in said
    assert "this run is not in its history" in said
    assert damage(toy.store) == []


def test_disk_filled_by_an_output_is_told(mount: Mount, tmp_path: Path) -> None:
    disk = mount(tmp_path / "disk", "size=1m")
    toy = on_disk(tmp_path, disk)
    toy.edit("stages/fit.py", "    stage.measure", "    (stage.out / 'large').write_bytes(bytes(1 << 21))\n    stage.measure")
    assert_clear(toy.kpipe("run"), NO_SPACE, disk)
    toy.edit("stages/fit.py", "write_bytes(bytes(1 << 21))", "write_bytes(bytes(1 << 11))")
    assert toy.ran() == ALL - {"load"}  # the failed output gave its room back
    assert_nothing_left(toy.store)


@pytest.mark.parametrize("told", ["for n in range(9): print('x' * (1 << 18))", "import os; os.system('yes | head -c 2000000')"])
def test_disk_filled_by_a_log_is_told_and_serves_what_is_there(mount: Mount, tmp_path: Path, told: str) -> None:
    disk = mount(tmp_path / "disk", "size=1m")
    toy = on_disk(tmp_path, disk)
    toy.edit("stages/fit.py", "    stage.measure", f"    {told}\n    stage.measure")
    assert_clear(toy.kpipe("run"), NO_SPACE, disk)
    toy.edit("stages/fit.py", f"    {told}\n", "")
    assert_serves(toy)
    for log in (toy.store / "logs").glob("*/fit*"):
        log.unlink()
    toy.edit("stages/deep.py", "10", "11")
    assert toy.ran() == ALL - {"load"}


def test_disk_that_cannot_hold_a_mapped_file_is_told(mount: Mount, tmp_path: Path) -> None:
    disk = mount(tmp_path / "disk", "size=1m")
    toy = on_disk(tmp_path, disk)
    toy.edit("stages/fit.py", "    stage.measure", MAPPED)
    result = toy.kpipe("run")
    assert result.code == 1
    assert "error: fit[a]: its process was ended by SIGBUS\n  hint: the disk" in result.err, result.err
    assert_nothing_left(toy.store)


MAPPED = """
    import mmap
    with (stage.out / "mapped").open("w+b") as file:
        file.truncate(1 << 21)
        mapped = mmap.mmap(file.fileno(), 1 << 21)
        for page in range(0, 1 << 21, 4096):
            mapped[page] = 1
    stage.measure"""


def test_full_disk_serves_a_source_that_was_touched(mount: Mount, tmp_path: Path) -> None:
    disk = mount(tmp_path / "disk", "size=1m,nr_inodes=400")
    toy = on_disk(tmp_path, disk)
    os.utime(toy.root / "data" / "1.txt")  # its content is hashed anew, and cannot be remembered
    for filled in (fill, fill_inodes):
        filled(disk)
        assert_serves(toy)
        clear(disk)


@pytest.mark.parametrize("options", ["size=200k", "size=4m,nr_inodes=2"])
def test_reports_that_do_not_fit_are_told(mount: Mount, tmp_path: Path, options: str) -> None:
    toy = Toy(tmp_path / "project")
    toy.edit("stages/report.py", '"<svg/>"', '"<svg/>" * 100_000')
    reports = mount(toy.root / "reports", options)
    for _ in range(2):
        result = toy.kpipe("run")
        assert_clear(result, NO_SPACE, reports)
        assert ".kpipe/objects" not in result.err  # that is not the disk which is full
    subprocess.run(["mount", "-o", "remount,size=4m,nr_inodes=20", str(reports)], check=True)
    assert toy.ran() == set()
    assert (reports / "toy-tensorflow" / "figures" / "one.svg").stat().st_size == 600_000
    assert not list(reports.rglob(".*"))


def test_read_only_reports_are_told(mount: Mount, tmp_path: Path) -> None:
    toy = Toy(tmp_path / "project")
    reports = mount(toy.root / "reports", "size=1m,ro")
    assert_clear(toy.kpipe("run"), READ_ONLY, reports)
    subprocess.run(["mount", "-o", "remount,rw", str(reports)], check=True)
    assert toy.ran() == set()
    subprocess.run(["mount", "-o", "remount,ro", str(reports)], check=True)
    assert toy.ran() == set()  # nothing has to be written


@pytest.mark.parametrize("command", ["run", "plan", "gc", "verify"])
def test_read_only_store_that_is_empty_is_told(mount: Mount, tmp_path: Path, command: str) -> None:
    toy = Toy(tmp_path / "project")
    disk = mount(tmp_path / "disk", "size=1m,ro")
    toy.environment["KPIPE_STORE"] = str(disk / "store")
    result = toy.kpipe(command)
    assert_clear(result, READ_ONLY, disk / "store")
    assert "KPIPE_STORE" in result.err


# what a person may not do


class Unprivileged(Toy):
    """A toy whose kpipe may do what its permissions say, also where root runs the tests."""

    def command(self, *args: str) -> tuple[list[str], dict[str, str]]:
        command, environment = super().command(*args)
        powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--"] if os.geteuid() == 0 else []
        return [*powerless, *command], environment


@pytest.fixture
def person(tmp_path: Path) -> Unprivileged:
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may do everything, and there is no setpriv")
    return Unprivileged(tmp_path / "project")


@pytest.mark.parametrize("folder", ["", "objects", "records", "staging", "logs", "cache"])
def test_store_that_may_not_be_written_is_told(person: Unprivileged, folder: str) -> None:
    person.run()
    store = person.root / ".kpipe" / folder
    forbidden = [store] if folder else [store, *(path for path in store.rglob("*") if path.is_dir())]
    for path in forbidden:
        path.chmod(0o555)
    assert_serves(person)
    person.edit("stages/deep.py", "10", "11")
    result = person.kpipe("run")
    if folder != "cache":
        assert_clear(result, DENIED, person.root / ".kpipe")
    else:
        assert result.code == 0
    for path in forbidden:
        path.chmod(0o755)
    assert person.ran() == (ALL - {"load"} if result.code else set())
    assert damage(person.root / ".kpipe") == []


def test_place_where_no_store_can_be_made_is_told(person: Unprivileged) -> None:
    person.root.chmod(0o555)
    assert_clear(person.kpipe("run"), DENIED, person.root / ".kpipe")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["data", "data/1.txt"])
def test_source_that_may_not_be_read_is_told_and_seen_once_it_may(person: Unprivileged, name: str) -> None:
    source = person.root / name
    source.chmod(0)
    result = person.kpipe("run")
    assert (result.code, DENIED in result.err, str(source) in result.err) == (1, True, True), result.err
    source.chmod(0o755)
    assert person.ran() == ALL
    source.chmod(0)
    assert person.kpipe("run").code == 1
    source.chmod(0o755)
    assert person.ran() == set()


def test_reports_that_may_not_be_written_are_told(person: Unprivileged) -> None:
    (person.root / "reports").mkdir(mode=0o555)
    assert_clear(person.kpipe("run"), DENIED, person.root / "reports")
    (person.root / "reports").chmod(0o755)
    assert person.ran() == set()
    assert person.report.startswith("Toy")


# unusual places


@pytest.mark.parametrize("name", ["with space", "ünïcødé 猫 🦉", "new\nline", "x" * 200, "-%s {0} [a] *"])
def test_any_name_of_a_folder_will_do(tmp_path: Path, name: str) -> None:
    toy = Toy(tmp_path / name / "project")
    for store in (None, tmp_path / name / "store" / name):
        if store:
            toy.environment["KPIPE_STORE"] = str(store)
        assert toy.ran() == ALL
        assert toy.ran() == set()
        assert toy.report.startswith("Toy\na: 10.0")
        assert damage(store or toy.root / ".kpipe") == []


def test_store_on_another_file_system(mount: Mount, tmp_path: Path) -> None:
    toy = on_disk(tmp_path, mount(tmp_path / "disk", "size=4m"))
    assert toy.store.stat().st_dev != toy.root.stat().st_dev
    assert toy.ran() == set()
    assert toy.report.startswith("Toy\na: 10.0")


def test_store_behind_a_link_is_the_one_that_the_link_names(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "project")
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    toy.environment["KPIPE_STORE"] = str(tmp_path / "link")
    assert toy.ran() == ALL
    toy.environment["KPIPE_STORE"] = str(tmp_path / "there")
    assert toy.ran() == set()
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("below", ["", "below/it"])
@pytest.mark.parametrize("command", ["run", "plan", "gc"])
def test_store_that_is_a_file_is_told(tmp_path: Path, command: str, below: str) -> None:
    toy = Toy(tmp_path / "project")
    file = toy.write("file", "mine")
    toy.environment["KPIPE_STORE"] = str(file / below)
    assert_clear(toy.kpipe(command), "Not a directory", file)
    assert file.read_text() == "mine"


def test_reports_that_are_a_file_are_told(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "project")
    file = toy.write("reports", "mine")
    assert_clear(toy.kpipe("run"), "reports", file)
    assert file.read_text() == "mine"
