"""gc and verify: what goes, what stays, what is found damaged."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kpipe.units import parse_size
from tests.engine.conftest import ALL, Toy
from tests.engine.test_running import slow, wait_for


def objects(toy: Toy) -> set[str]:
    return {path.name for path in (toy.root / ".kpipe" / "objects").iterdir() if path.is_dir()}


def freed(toy: Toy, *args: str) -> dict[str, int]:
    items = toy.kpipe("gc", "--json", *args).json["items"]
    return {kind: len([i for i in items if i["kind"] == kind]) for kind in {i["kind"] for i in items}}


@pytest.mark.slow
def test_gc_removes_what_the_last_runs_did_not_use_after_saying_so(toy: Toy) -> None:
    toy.run("--set", "stages.fit.params.epochs=1")
    before = objects(toy)
    toy.run()
    said = toy.kpipe("gc", "--keep-runs", "1")
    assert said.code == 0 and "artifacts" in said.out and "nothing was removed" in said.err
    assert before <= objects(toy)
    assert toy.kpipe("gc", "--keep-runs", "1", "--delete").out.splitlines()[-1].startswith("removed ")
    assert len(objects(toy)) == 4
    assert toy.ran() == set()
    assert toy.ran("--set", "stages.fit.params.epochs=1") == ALL - {"load"}


@pytest.mark.slow
def test_gc_keeps_everything_of_the_runs_it_keeps(toy: Toy) -> None:
    toy.run("--set", "stages.fit.params.epochs=1")
    toy.run()
    assert freed(toy, "--delete") == {}
    assert freed(toy, "--keep-runs", "2", "--delete") == {}
    assert toy.ran() == toy.ran("--set", "stages.fit.params.epochs=1") == set()


@pytest.mark.slow
def test_gc_by_age_and_size(toy: Toy) -> None:
    toy.run("--set", "stages.fit.params.epochs=1")
    toy.run("--set", "stages.fit.params.epochs=2")
    toy.run()
    assert freed(toy, "--keep-runs", "1", "--older-than", "1h") == {}
    assert freed(toy, "--keep-runs", "1", "--max-size", "1GB") == {}
    assert freed(toy, "--keep-runs", "1", "--max-size", "0B")["artifacts"] == 6
    items = toy.kpipe("gc", "--keep-runs", "1", "--json").json["items"]
    assert [i["used"] for i in items] == sorted(i["used"] for i in items)
    total = sum(i["bytes"] for i in items) + sum(i["bytes"] for i in toy.kpipe("gc", "--keep-runs", "3", "--json").json["items"])
    assert total > 0


@pytest.mark.slow
def test_gc_keeps_the_last_runs_of_every_pipeline_of_a_shared_store(toy: Toy, tmp_path: Path) -> None:
    other = Toy(tmp_path / "other")
    toy.environment = other.environment = {"KPIPE_STORE": str(tmp_path / "store")}
    other.edit("stages/deep.py", "10", "11")
    other.run()
    for epochs in range(3):
        toy.run("--set", f"stages.fit.params.epochs={epochs}")
    assert toy.kpipe("gc", "--keep-runs", "1", "--delete").code == 0
    assert other.ran() == set()
    assert toy.ran("--set", "stages.fit.params.epochs=2") == set()


def test_gc_never_takes_what_a_running_kpipe_uses(toy: Toy) -> None:
    toy.run()
    toy.edit("stages/helper.py", "x * FACTOR", "x * FACTOR + wait()")
    toy.write("stages/helper.py", (toy.root / "stages/helper.py").read_text() + WAIT.format(folder=toy.root))
    process = toy.start("run")
    wait_for(toy.root / "started")
    (toy.root / ".kpipe" / "runs.jsonl").unlink()  # nothing is needed any more, as far as the history knows
    result = toy.kpipe("gc", "--delete")
    assert result.code == 0, result.err
    (toy.root / "go").touch()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert toy.report.startswith("Toy\na: 10.0")
    assert toy.ran() == set()


WAIT = """
def wait():
    import time
    from pathlib import Path
    Path("{folder}/started").touch()
    while not Path("{folder}/go").exists():
        time.sleep(0.02)
    return 0
"""


def test_gc_clears_what_killed_and_damaged_things_left(toy: Toy) -> None:
    started = slow(toy, 60)
    toy.edit("stages/load.py", "    time.sleep", "    (stage.scratch / 'half').write_text('x')\n    time.sleep")
    process = toy.start("run")
    wait_for(started)
    process.kill()
    process.wait()
    (left,) = (toy.root / ".kpipe" / "scratch").iterdir()
    os.utime(left, (1, 1))
    slow(toy, 0)
    toy.run()
    (found,) = (toy.root / ".kpipe" / "objects").glob("*/words.txt")
    found.chmod(0o644)
    found.write_text("x")
    toy.run()
    assert freed(toy, "--keep-runs", "1", "--delete").keys() >= {"scratch", "quarantine"}
    assert list((toy.root / ".kpipe" / "quarantine").iterdir()) == []
    assert toy.ran() == set()


def test_gc_works_where_nothing_ever_ran(toy: Toy) -> None:
    assert toy.kpipe("gc").code == 0
    assert toy.kpipe("gc", "--older-than", "soon").err == (
        "error: argument --older-than: soon is no time: 90s, 45m, 12h, 30d\n  hint: kpipe gc --help\n"
    )


@pytest.mark.parametrize("digits", [20, 400, 4000])
def test_numbers_on_the_command_line_may_be_as_long_as_they_like(toy: Toy, digits: int) -> None:
    assert len(str(parse_size(f"{'1' * digits}GB"))) == digits + 9
    assert toy.kpipe("gc", "--max-size", f"{'9' * digits}GB", "--older-than", f"{'9' * digits}d").code == 0
    assert toy.kpipe("gc", "--keep-runs", "9" * digits).code == 0
    assert toy.kpipe("runs", "--limit", "9" * digits).code == 0


def flip(path: Path) -> None:
    """Turn one bit in the middle, behind the back of every time stamp."""
    info = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def test_verify_of_a_whole_store_finds_nothing(toy: Toy) -> None:
    toy.run()
    result = toy.kpipe("verify")
    assert result.code == 0
    assert result.out.endswith("are as they were stored\n")


@pytest.mark.parametrize("where", ["objects/*/words.txt", "objects/*.json", "records/*.json", "code/*.json"])
def test_flipped_bit_anywhere_is_found_set_aside_and_made_again(toy: Toy, where: str) -> None:
    toy.run()
    report = toy.report
    flip(sorted((toy.root / ".kpipe").glob(where))[0])
    result = toy.kpipe("verify")
    assert result.code == 1
    assert "set aside" in result.out
    assert list((toy.root / ".kpipe" / "quarantine").iterdir())
    toy.run()
    assert toy.report == report
    assert toy.kpipe("verify").code == 0


@pytest.mark.parametrize("where", ["objects/*/words.txt", "objects/*.json", "objects/*", "records/*.json"])
def test_missing_or_cut_file_is_found_and_made_again(toy: Toy, where: str) -> None:
    toy.run()
    report = toy.report
    for cut in (True, False):
        path = sorted(p for p in (toy.root / ".kpipe").glob(where) if where != "objects/*" or p.is_dir())[0]
        if path.is_dir():
            path.rename(toy.root / f"gone-{cut}")
        elif cut:
            path.chmod(0o644)
            os.truncate(path, path.stat().st_size // 2)
        else:
            path.unlink()
        assert toy.ran() >= set()
        assert toy.report == report
        assert toy.kpipe("verify").code == 0


def test_run_says_what_was_damaged_and_that_it_was_set_aside(toy: Toy) -> None:
    toy.run()
    (found,) = (toy.root / ".kpipe" / "objects").glob("*/words.txt")
    found.chmod(0o644)
    found.write_text("two")
    err = toy.kpipe("run").err
    assert "load    notice: its damaged artifact was set aside in the store's quarantine\n" in err
    assert "load    runs: words.txt has 3 instead of 7 bytes\n" in err
    assert "set aside" not in toy.kpipe("run").err


@pytest.mark.slow
def test_run_verify_believes_no_time_stamp(toy: Toy) -> None:
    toy.run()
    time.sleep(2.1)  # until time stamps are believed
    toy.run()
    (found,) = (toy.root / ".kpipe" / "objects").glob("*/words.txt")
    flip(found)
    assert toy.ran() == set()
    assert toy.ran("--verify") == {"load"}
    assert toy.ran("--verify") == set()


@pytest.mark.parametrize("name", [".DS_Store", "figures/.cache", "figures/deep/er", "empty folder/"])
@pytest.mark.parametrize("how", ["run", "run that reads it", "verify"])
def test_what_was_not_stored_with_an_artifact_is_set_aside_alone(toy: Toy, name: str, how: str) -> None:
    toy.edit(
        "stages/load.py",
        "    words =",
        "    (stage.out / 'figures').mkdir(); (stage.out / 'figures' / 'one').touch()\n    words =",
    )
    toy.run()
    [figures] = (toy.root / ".kpipe" / "objects").glob("*/figures/one")
    artifact = figures.parents[1]
    before = sorted(artifact.rglob("*"))
    strange = artifact / name
    if name.endswith("/"):
        strange.mkdir()
    else:
        strange.parent.mkdir(exist_ok=True)
        strange.touch()
    said = f"it holds {name.removesuffix('/').replace('deep/er', 'deep')}, which was not stored with it"
    if how == "verify":
        assert said in toy.kpipe("verify").out
    elif how == "run":
        result = toy.kpipe("run")
        assert "load    notice: what does not belong into its artifact was set aside in the store's quarantine\n" in result.err
        assert "load    cached" in result.err
    else:
        assert toy.ran("--set", "stages.fit.params.epochs=9") == ALL - {"load"}
    assert sorted(artifact.rglob("*")) == before
    assert len(list((toy.root / ".kpipe" / "quarantine").iterdir())) == 1
    assert toy.kpipe("verify").code == 0 and toy.ran() <= ALL - {"load"}


def test_file_that_takes_the_place_of_a_damaged_artifacts_folder_does_not_hide_the_damage(toy: Toy) -> None:
    toy.run()
    (found,) = (toy.root / ".kpipe" / "objects").glob("*/words.txt")
    found.rename(found.with_name("other.txt"))
    assert toy.ran() == {"load"}


def test_stage_that_writes_into_its_input_is_refused_by_name(toy: Toy) -> None:
    toy.edit("stages/fit.py", "    stage.measure", "    (stage.inputs['load'] / 'cache').touch()\n    stage.measure")
    result = toy.kpipe("run")
    assert result.code == 1
    assert "fit[a]: changed while it ran: input load (it holds cache, which was not stored with it)" in result.err
