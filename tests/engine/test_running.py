"""Failures, interruptions, edits during a run, two runs at once."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path
from unicodedata import normalize

import pytest

from tests.engine.conftest import ALL, Toy

SLOW = """
import time
from pathlib import Path
from kpipe.stage import Folder, Stage

def run(stage: Stage, *, source: Folder) -> None:
    Path("{started}").touch()
    time.sleep({seconds})
    (stage.out / "words.txt").write_text("slow")
"""


def slow(toy: Toy, seconds: float) -> Path:
    started = toy.root / "started"
    toy.write("stages/load.py", SLOW.format(started=started, seconds=seconds))
    return started


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def leftovers(toy: Toy) -> list[Path]:
    return [p for p in (toy.root / ".kpipe" / "staging").rglob("*") if not p.is_dir()]


def test_stage_error_is_a_message_with_a_hint_and_no_traceback(toy: Toy) -> None:
    toy.edit("stages/load.py", "from kpipe.stage import Folder, Stage", "from kpipe.stage import Folder, Stage, StageError")
    toy.edit("stages/load.py", "    words =", "    raise StageError('no good', hint='mend it')\n    words =")
    result = toy.kpipe("run")
    assert result.code == 1
    assert "error: load: no good\n  hint: mend it\n  log: .kpipe/logs/" in result.err
    assert "Traceback" not in result.err
    assert "not run: fit[a], fit[b], report" in result.err
    assert not (toy.root / "reports").exists()
    assert list((toy.root / ".kpipe" / "objects").iterdir()) == []
    assert leftovers(toy) == []


def test_stage_traceback_is_its_own_alone(toy: Toy) -> None:
    toy.edit("stages/helper.py", "return x * FACTOR", "return x / 0")
    result = toy.kpipe("run")
    assert result.code == 1
    assert result.err.count("Traceback") == 1
    assert 'stages/helper.py", line' in result.err
    assert "kpipe/worker.py" not in result.err
    assert "error: fit[a]: ZeroDivisionError" in result.err


def test_keep_going_makes_the_report_of_what_survives(toy: Toy) -> None:
    toy.edit("stages/fit.py", "    stage.measure", "    assert rate < 1\n    stage.measure")
    result = toy.kpipe("run", "--keep-going")
    assert result.code == 1
    assert "error: fit[b]: AssertionError" in result.err
    assert result.out.splitlines()[-1] == "reports/toy-tensorflow.html"
    assert "a: 10.0 after 8" in (toy.root / "reports" / "toy-tensorflow.html").read_text()


def test_process_that_dies_fails_its_stage(toy: Toy) -> None:
    toy.edit("stages/load.py", "    words =", "    import os; os.kill(os.getpid(), 9)\n    words =")
    result = toy.kpipe("run")
    assert result.code == 1
    assert "error: load: its process was ended by SIGKILL" in result.err


def test_interrupt_stops_the_workers_and_loses_nothing(toy: Toy) -> None:
    toy.run("--until", "load")
    toy.edit(
        "stages/helper.py",
        "    return",
        f"    import os, time; open('{toy.root}/started', 'w').write(str(os.getpid())); time.sleep(60)\n    return",
    )
    process = toy.start("run")
    wait_for(toy.root / "started")
    time.sleep(0.1)
    worker = int((toy.root / "started").read_text())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert leftovers(toy) == []
    toy.edit("stages/helper.py", "time.sleep(60)", "pass")
    assert toy.ran() == ALL - {"load"}


def test_killed_kpipe_takes_its_workers_along_and_needs_no_manual_step(toy: Toy) -> None:
    started = slow(toy, 60)
    process = toy.start("run")
    wait_for(started)
    process.kill()
    process.wait()
    slow(toy, 0)
    assert toy.ran() == ALL
    assert leftovers(toy) == []


@pytest.mark.slow
@pytest.mark.parametrize("file", ["data/1.txt", "stages/load.py"])
def test_input_or_code_edited_while_a_stage_runs_is_not_committed(toy: Toy, file: str) -> None:
    started = slow(toy, 1.5)
    process = toy.start("run")
    wait_for(started)
    path = toy.root / file
    path.write_text(path.read_text() + "\nX = 1\n")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "changed while it ran" in err
    assert list((toy.root / ".kpipe" / "records").iterdir()) == []
    assert toy.ran() == ALL


def test_code_edited_before_it_was_imported_and_put_back_is_not_committed(toy: Toy) -> None:
    started = slow(toy, 1)
    text = (toy.root / "stages/helper.py").read_text()
    process = toy.start("run", "--until", "fit[a]")
    wait_for(started)
    toy.edit("stages/helper.py", "x * FACTOR", "x * FACTOR + 1")
    toy.edit("stages/fit.py", "    words", f"    open({str(toy.root / 'stages/helper.py')!r}, 'w').write({text!r})\n    words")
    fit = (toy.root / "stages/fit.py").read_text()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    assert "changed while it ran" in err
    assert fit == (toy.root / "stages/fit.py").read_text()


def test_second_kpipe_waits_and_takes_the_first_ones_result(toy: Toy) -> None:
    started = slow(toy, 1.5)
    first = toy.start("run", "--json")
    wait_for(started)
    second = toy.kpipe("run")
    first.communicate(timeout=30)
    assert first.returncode == second.code == 0
    assert "load    waits: another kpipe computes the same" in second.err
    assert "load    cached" in second.err


@pytest.mark.slow
def test_eight_at_once_leave_one_whole_report(toy: Toy) -> None:
    toy.edit(
        "stages/report.py",
        '    (stage.out / "figures" / "one.svg").write_text("<svg/>")',
        '    for n in range(300):\n        (stage.out / "figures" / f"{n}.svg").write_text(str(n))',
    )
    toy.run()
    for _ in range(3):
        shutil.rmtree(toy.root / "reports")
        running = [toy.start("run") for _ in range(8)]
        said = [process.communicate(timeout=60)[1] for process in running]
        assert [process.returncode for process in running] == [0] * 8, said
        assert len(list((toy.root / "reports" / "toy-tensorflow" / "figures").iterdir())) == 300


def test_jobs_run_side_by_side(toy: Toy) -> None:
    toy.edit("stages/fit.py", "    stage.measure", "    meet(rate)\n    stage.measure")
    toy.edit("stages/fit.py", "def run", MEET.format(folder=toy.root) + "\n\ndef run")
    assert toy.ran("--jobs", "2") == ALL


MEET = """
def meet(rate):
    import time
    from pathlib import Path
    Path("{folder}", f"here-{{rate}}").touch()
    for _ in range(200):
        if len(list(Path("{folder}").glob("here-*"))) == 2:
            return
        time.sleep(0.05)
    raise RuntimeError("alone")
"""


def test_project_comes_before_an_installed_package_of_the_same_name(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "stages").mkdir(parents=True)
    (tmp_path / "elsewhere" / "stages" / "__init__.py").touch()
    toy.environment["PYTHONPATH"] = str(tmp_path / "elsewhere")
    assert toy.ran() == ALL


def test_debug_runs_the_stage_in_this_process(toy: Toy) -> None:
    toy.edit("stages/fit.py", "    stage.measure", "    import os; print('pid', os.getpid(), os.getppid())\n    stage.measure")
    process = toy.start("run", "--debug", "fit[a]")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.split()[:2] == ["pid", str(process.pid)]


def test_debug_imports_the_projects_modules_whatever_else_is_on_the_path(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "stages").mkdir(parents=True)
    (tmp_path / "elsewhere" / "stages" / "__init__.py").touch()
    toy.environment["PYTHONPATH"] = f"{tmp_path / 'elsewhere'}:{toy.root}"  # the project's folder is on the path already
    assert toy.kpipe("run", "--debug", "fit[a]").code == 0


def test_stage_may_open_more_files_than_is_usual(toy: Toy) -> None:
    opened = "    files = [open(__file__) for _ in range(400)]\n    words ="
    toy.edit("stages/load.py", "    words =", opened)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        result = toy.kpipe("run")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert result.code == 0, result.err


def test_logs_shows_what_a_stage_printed(toy: Toy) -> None:
    toy.edit("stages/load.py", "    words =", "    print('hello'); import os; os.system('echo native')\n    words =")
    toy.run()
    result = toy.kpipe("logs", "load")
    assert result.out == "hello\nnative\n" or set(result.out.split()) == {"hello", "native"}


def test_notice_is_said_again_on_a_cache_hit(toy: Toy) -> None:
    toy.edit("stages/load.py", "    words =", "    stage.notice('one file was skipped')\n    words =")
    for _ in range(2):
        assert "notice: one file was skipped" in toy.kpipe("run").err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import sys; sys.exit(3)", "it called sys.exit(3)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import os; os._exit(7)", "its process ended with exit code 7"),
        ("import shutil; shutil.rmtree(stage.out); return", "it removed its output folder stage.out"),
        (
            "import shutil; shutil.rmtree(stage.out); stage.out.symlink_to('/etc'); return",
            "it put a link in the place of its output",
        ),
        ("(stage.out / 'link').symlink_to('/etc/hostname')", "its output holds link, which is no file or folder"),
        ("(stage.out / 'gone').symlink_to('/nowhere')", "its output holds gone, which is no file or folder"),
        ("import os; os.mkfifo(stage.out / 'pipe')", "its output holds pipe, which is no file or folder"),
    ],
)
def test_stage_that_misbehaves_is_named_and_stores_nothing(toy: Toy, line: str, message: str) -> None:
    toy.edit("stages/load.py", "    words =", f"    {line}\n    words =")
    mode = os.stat("/etc/hostname").st_mode
    result = toy.kpipe("run")
    assert result.code == 1
    assert f"error: load: {message}" in result.err
    assert os.stat("/etc/hostname").st_mode == mode
    assert list((toy.root / ".kpipe" / "objects").iterdir()) == []


@pytest.mark.parametrize("line", ["os.link(source / '1.txt', stage.out / 'one.txt')", "MEMO"])
def test_hard_link_to_a_persons_file_leaves_it_writable(toy: Toy, line: str) -> None:
    memo = "with stage.memo('m') as memo, memo.new_part() as part: os.link(source / '1.txt', part / 'one.txt')"
    toy.edit("stages/load.py", "    words =", f"    import os; words = 1\n    {memo if line == 'MEMO' else line}\n    words =")
    file = toy.root / "data/1.txt"
    mode = file.stat().st_mode
    assert toy.ran() == ALL
    assert (file.stat().st_mode, file.stat().st_nlink) == (mode, 1)
    [copy] = (toy.root / ".kpipe").rglob("one.txt")
    assert (copy.read_text(), copy.stat().st_mode & 0o777) == ("one", 0o444)


CHECKPOINT = """
import time
from pathlib import Path
from kpipe.stage import Folder, Stage

def run(stage: Stage, *, source: Folder) -> None:
    {edit}
    (stage.scratch / "kept").write_text({read})
    Path("{root}/started").touch()
    {then}
"""


@pytest.mark.parametrize("then", ["time.sleep(60)", "raise ValueError", "pass"], ids=["interrupted", "failed", "refused"])
@pytest.mark.parametrize("file", ["data/1.txt", "stages/title.txt"])
def test_checkpoint_of_data_that_was_edited_while_it_ran_is_not_kept(toy: Toy, then: str, file: str) -> None:
    read = "(source / '1.txt').read_text()" if "data" in file else "stage.resource('title.txt').read_text()"
    edit = f"Path('{toy.root / file}').write_text('edited')"
    toy.write("stages/load.py", CHECKPOINT.format(root=toy.root, edit=edit, read=read, then=then))
    process = toy.start("run", "--until", "load")
    wait_for(toy.root / "started")
    if "sleep" in then:
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (1, 130), err
    assert list((toy.root / ".kpipe" / "scratch").glob("*/kept")) == []


@pytest.mark.parametrize("then", ["time.sleep(60)", "raise ValueError"], ids=["interrupted", "failed"])
def test_checkpoint_of_the_same_data_stays_though_code_was_edited(toy: Toy, then: str) -> None:
    read = "(source / '1.txt').read_text()"
    toy.write("stages/load.py", CHECKPOINT.format(root=toy.root, edit="pass", read=read, then=then))
    process = toy.start("run", "--until", "load")
    wait_for(toy.root / "started")
    toy.write("stages/load.py", "X = 1\n")
    if "sleep" in then:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert [path.read_text() for path in (toy.root / ".kpipe" / "scratch").glob("*/kept")] == ["one"]


def test_parameter_that_is_not_a_number_equals_itself(toy: Toy) -> None:
    toy.run("--set", "stages.fit.params.rate=nan")
    assert toy.ran("--set", "stages.fit.params.rate=nan") == set()


def test_empty_folder_in_an_output_counts(toy: Toy) -> None:
    toy.run()
    toy.edit("stages/load.py", "    words =", "    (stage.out / 'empty').mkdir()\n    words =")
    assert toy.ran() == ALL
    assert toy.ran() == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_read_only_store_serves_what_it_has_and_says_so(toy: Toy) -> None:
    toy.run()
    store = str(toy.root / ".kpipe")
    if subprocess.run(["mount", "--bind", store, store], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", store], check=True)
        cached, changed = toy.kpipe("run"), toy.kpipe("run", "--set", "stages.fit.params.epochs=9")
    finally:
        subprocess.run(["umount", store], check=True)
    assert cached.code == 0 and "cannot be written (Read-only file system)" in cached.err
    assert changed.code == 1 and "Read-only file system\n  hint: earlier results are intact" in changed.err
    assert "Traceback" not in changed.err
    assert toy.ran() == set()


@pytest.mark.parametrize(
    "names",
    [["a/b", "a_b"], ["A", "a"], ["\u00e9", "e\u0301"], ["x" * 300, "x" * 301], ["\u5b57" * 250, "b"], ["..", ". ."]],
    ids=ascii,
)
def test_every_branch_has_a_log_of_its_own(toy: Toy, names: list[str]) -> None:
    """Also where the file system has no such names, takes A for a, or writes letters with accents its own way."""
    model = ", ".join(f'{{ name = "{name}", rate = {i} }}' for i, name in enumerate(names))
    toy.edit("pipeline.toml", 'model = [{ name = "a", rate = 0.5 }, { name = "b", rate = 2 }]', f"model = [{model}]")
    toy.edit("stages/fit.py", "    words =", "    print('rate', rate)\n    words =")
    toy.run()
    for i, name in enumerate(names):
        assert toy.kpipe("logs", f"fit[{name}]").out.splitlines()[-1] == f"rate {i}.0"
    (logs,) = (toy.root / ".kpipe" / "logs").iterdir()
    files = [normalize("NFC", path.name).casefold() for path in logs.iterdir()]
    assert len(set(files)) == len(files) == 4
    assert "load.log" in files
