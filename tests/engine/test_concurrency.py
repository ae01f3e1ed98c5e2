"""Several kpipe at once: each key is computed once, nobody disturbs anybody, and no lock outlives its process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.conftest import ALL
from tests.engine.test_kills import Victim, assert_nothing_left, damage
from tests.engine.test_running import wait_for
from tests.engine.test_upkeep import flip

HELPER = """
import os
import time
from pathlib import Path

from stages.deep import FACTOR

FOLDER = Path({folder!r})

def scale(x: float) -> float:
    return x * FACTOR

def computed(what: object) -> None:
    handle = os.open(FOLDER / "computed", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{{what}}\\n".encode())
    os.close(handle)

def wait(name: str) -> None:
    (FOLDER / "started").write_text(str(os.getpid()))
    deadline = time.monotonic() + 60
    while not (FOLDER / name).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
"""


class Shared(Victim):
    """A project that notes what it computes, with a store and a notebook that others may share."""

    def __init__(self, folder: Path, name: str = "project") -> None:
        super().__init__(folder / name)
        self.folder = folder
        self.environment["KPIPE_STORE"] = str(folder / "store")
        self.write("stages/helper.py", HELPER.format(folder=str(folder)))
        self.edit("stages/load.py", "import Folder, Stage", "import Folder, Stage\nfrom stages import helper")
        self.edit("stages/load.py", "    words", "    helper.computed('load')\n    words")
        self.edit("stages/fit.py", "import scale", "import computed, scale, wait")
        self.edit("stages/fit.py", "    stage.measure", "    computed(f'fit {rate} {epochs}')\n    stage.measure")
        self.edit("stages/report.py", "import Stage", "import Stage\nfrom stages.helper import computed")
        self.edit("stages/report.py", "    title", "    computed('report')\n    title")

    def first(self, line: str) -> None:
        """Let the first stage do something before all else."""
        self.edit("stages/load.py", "    words", f"    {line}\n    words")

    @property
    def computed(self) -> dict[str, int]:
        """How often each thing was computed, by whomever."""
        return Counter((self.folder / "computed").read_text().splitlines())

    def begin(self, *args: str, patch: str = "") -> Begun:
        """Start a command whose words can be read while it runs."""
        self.patch, before = patch, self.patch
        command, environment = self.command(*args)
        self.patch = before
        told = self.folder / f"told-{time.monotonic_ns()}"
        with told.open("w") as file:
            process = subprocess.Popen(
                command, cwd=self.root, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        return Begun(process, told)

    def go(self, name: str = "go") -> None:
        (self.folder / name).touch()


@dataclass
class Begun:
    """A command that runs."""

    process: subprocess.Popen[bytes]
    told: Path

    def wait_until(self, text: str, times: int = 1) -> None:
        deadline = time.monotonic() + 60
        while self.told.read_text().count(text) < times:
            assert self.process.poll() is None and time.monotonic() < deadline, self.told.read_text()
            time.sleep(0.01)

    def end(self) -> str:
        """Wait for its end, which must be a good one; what it said."""
        assert self.process.wait(120) == 0, self.told.read_text()
        return self.told.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


WAITS = "load    waits: another kpipe computes the same"
ONCE = {"load": 1, "fit 0.5 8": 1, "fit 2.0 8": 1, "report": 1}


@pytest.fixture
def one(tmp_path: Path) -> Shared:
    return Shared(tmp_path)


@pytest.fixture
def other(tmp_path: Path) -> Shared:
    """Another project with the same stages and the same store."""
    return Shared(tmp_path, "other")


def assert_sound(*projects: Shared) -> None:
    """The store is whole, nothing is left, and everybody is served."""
    for project in projects:
        project.wait_until_nothing_lives()
        assert project.ran() == set()
    assert damage(projects[0].store) == []
    assert_nothing_left(projects[0].store)


def first_and_second(first: Shared, second: Shared) -> tuple[Begun, Begun]:
    """Two runs, of which the second waits for what the first computes."""
    begun = first.begin("run")
    wait_for(first.folder / "started")
    waiting = second.begin("run")
    waiting.wait_until(WAITS)
    return begun, waiting


def test_second_run_of_a_project_takes_what_the_first_computes(one: Shared) -> None:
    one.first("helper.wait('go')")
    first, second = first_and_second(one, one)
    one.go()
    first.end()
    assert "load    cached" in second.end()
    assert one.computed == ONCE
    assert_sound(one)


def test_second_project_takes_what_the_first_computes(one: Shared, other: Shared) -> None:
    for project in (one, other):
        project.first("helper.wait('go')")
    first, second = first_and_second(one, other)
    one.go()
    first.end()
    assert "load    cached" in second.end()
    assert one.computed == ONCE
    assert one.report == other.report
    assert_sound(one, other)


def test_eight_at_once_compute_each_key_once(one: Shared, other: Shared) -> None:
    for project in (one, other):
        project.first("helper.wait('go')")
    begun = [
        project.begin("run", "--jobs", str(1 + n % 2), "--set", f"stages.fit.params.epochs={epochs}")
        for n in range(4)
        for project, epochs in ((one, 8), (other, 9))
    ]
    deadline = time.monotonic() + 60
    while sum(WAITS in run.told.read_text() for run in begun) < 7:
        assert time.monotonic() < deadline, [run.told.read_text() for run in begun]
        time.sleep(0.02)
    one.go()
    for run in begun:
        run.end()
    assert one.computed == {"load": 1, "fit 0.5 8": 1, "fit 2.0 8": 1, "fit 0.5 9": 1, "fit 2.0 9": 1, "report": 2}
    assert one.report == "Toy\na: 10.0 after 8\nb: 40.0 after 8"
    assert other.report == "Toy\na: 10.0 after 9\nb: 40.0 after 9"
    other.edit("pipeline.toml", "epochs = 8", "epochs = 9")
    assert_sound(one, other)


@pytest.mark.parametrize("who", ["kpipe", "worker"])
def test_second_takes_over_from_a_first_that_is_killed(one: Shared, other: Shared, who: str) -> None:
    for project in (one, other):
        project.first("helper.wait('go')")
    first, second = first_and_second(one, other)
    if who == "kpipe":
        first.kill()
    else:
        os.kill(one.workers()[0], signal.SIGKILL)
    one.go()
    assert "load    done" in second.end()
    assert one.computed == {**ONCE, "load": 2}
    first.process.wait()
    assert_sound(one, other)


def test_second_tries_itself_what_failed_in_the_first(one: Shared, other: Shared) -> None:
    for project in (one, other):
        project.first("helper.wait('go'); assert (helper.FOLDER / 'computed').read_text().count('load') > 1")
    first, second = first_and_second(one, other)
    one.go()
    assert first.process.wait(60) == 1
    assert "load    done" in second.end()
    assert one.computed == {**ONCE, "load": 2}
    assert_sound(one, other)


def test_interrupted_waiter_leaves_the_first_alone(one: Shared, other: Shared) -> None:
    for project in (one, other):
        project.first("helper.wait('go')")
    first, second = first_and_second(one, other)
    second.process.send_signal(signal.SIGINT)
    assert second.process.wait(60) == 130
    assert "Traceback" not in second.told.read_text()
    one.go()
    first.end()
    assert one.computed == ONCE
    assert_sound(one, other)


def test_two_runs_with_other_parameters_share_what_is_the_same(one: Shared) -> None:
    one.first("helper.wait('go')")
    first, second = one.begin("run"), one.begin("run", "--set", "stages.fit.params.epochs=9")
    deadline = time.monotonic() + 60
    while not any(WAITS in run.told.read_text() for run in (first, second)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    one.go()
    first.end()
    second.end()
    assert one.computed == {**ONCE, "fit 0.5 9": 1, "fit 2.0 9": 1, "report": 2}
    assert damage(one.store) == []
    assert one.ran() == one.ran("--set", "stages.fit.params.epochs=9") == set()


# a memo that stages of two pipelines share


MEMO = """
    with stage.memo("numbers", many=2) as memo:
        if not memo.parts:
            helper.computed("memo")
            with memo.new_part() as folder:
                (folder / "half.txt").write_text("half")
                helper.wait("go")
                (folder / "n.txt").write_text("whole")
        text = " ".join(path.read_text() for path in sorted(memo.parts[0].iterdir()))
    words = [text]
"""


@pytest.fixture
def memos(one: Shared, other: Shared) -> tuple[Shared, Shared]:
    """Two pipelines whose first stages have different keys and use the same memo."""
    for project in (one, other):
        project.edit("stages/load.py", "    words = [p.read_text() for p in sorted(source.iterdir())]\n", MEMO)
        project.edit("stages/load.py", "    helper.computed('load')\n", "    (helper.FOLDER / source.name).touch()\n")
    other.edit("pipeline.toml", '"data"', '"data2"')
    other.write("data2/1.txt", "another")
    return one, other


def filler_and_waiter(one: Shared, other: Shared) -> tuple[Begun, Begun]:
    begun = one.begin("run")
    wait_for(one.folder / "started")
    waiting = other.begin("run")
    wait_for(one.folder / "data2")
    return begun, waiting


def test_stage_of_another_pipeline_waits_for_a_memo_and_uses_it(memos: tuple[Shared, Shared]) -> None:
    one, other = memos
    filling, waiting = filler_and_waiter(one, other)
    one.go()
    filling.end()
    waiting.end()
    assert one.computed["memo"] == 1
    assert_sound(one, other)


@pytest.mark.parametrize("who", ["kpipe", "worker"])
def test_stage_of_another_pipeline_fills_the_memo_whose_filler_was_killed(memos: tuple[Shared, Shared], who: str) -> None:
    one, other = memos
    filling, waiting = filler_and_waiter(one, other)
    if who == "kpipe":
        filling.kill()
    else:
        os.kill(one.workers()[0], signal.SIGKILL)
    filling.process.wait(60)
    one.wait_until_nothing_lives()
    one.go()
    waiting.end()
    assert one.computed["memo"] == 2
    one.run()
    assert one.computed["memo"] == 2
    assert next(one.store.glob("objects/*/words.txt")).read_text() == "half whole"
    assert_sound(one, other)


# gc and verify beside runs


@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_gc_and_verify_beside_runs_disturb_nobody(tmp_path: Path, rounds: int) -> None:
    projects = [Shared(tmp_path, f"project{n}") for n in range(4)]
    for n, project in enumerate(projects):
        project.edit("stages/deep.py", "10", str(10 + n // 2))  # in pairs the same
    upkeep = [("gc", "--keep-runs", "1", "--delete"), ("verify",)]
    for epochs in range(rounds):
        chosen = f"stages.fit.params.epochs={epochs}"
        runs = [project.begin("run", "--jobs", "2", "--set", chosen) for project in projects]
        while any(run.process.poll() is None for run in runs):
            for beside in [projects[0].begin(*command) for command in upkeep]:
                beside.end()
        for n, run in enumerate(runs):
            run.end()
            factor = 10 + n // 2
            assert projects[n].report == f"Toy\na: {factor:.1f} after {epochs}\nb: {4 * factor:.1f} after {epochs}"
    for project in projects:
        project.edit("pipeline.toml", "epochs = 8", f"epochs = {rounds - 1}")
    assert_sound(*projects)


PAUSE = """
import time
from pathlib import Path

def pause(here, go, seconds=60):
    "Say that one is here, and wait for the word to go on."
    Path({folder!r}, here).touch()
    deadline = time.monotonic() + seconds
    while not Path({folder!r}, go).exists() and time.monotonic() < deadline:
        time.sleep(0.01)

"""


def paused(project: Shared, patch: str) -> str:
    return PAUSE.format(folder=str(project.folder)) + patch


LOCK_LATER = """
from kpipe import garbage
locked = garbage.locked

def later(path):
    pause("ready", "lock")
    return locked(path)

garbage.locked = later
"""


def gc_that_will_remove(one: Shared) -> Begun:
    """A gc that has to take its lock yet, and an earlier run whose artifacts it may take."""
    one.run("--set", "stages.fit.params.epochs=1")
    one.run()
    gc = one.begin("gc", "--keep-runs", "1", "--delete", patch=paused(one, LOCK_LATER))
    wait_for(one.folder / "ready")
    return gc


@pytest.mark.slow
def test_gc_keeps_what_a_run_used_just_now(one: Shared) -> None:
    gc = gc_that_will_remove(one)
    assert one.ran("--set", "stages.fit.params.epochs=1") == set()
    one.go("lock")
    gc.end()
    assert damage(one.store) == []
    assert one.ran("--set", "stages.fit.params.epochs=1") == set()


@pytest.mark.slow
def test_gc_keeps_an_artifact_that_got_another_key_just_now(one: Shared) -> None:
    gc = gc_that_will_remove(one)
    one.edit("stages/fit.py", "after {epochs}", "after {1}")
    assert one.ran() == {"fit[a]", "fit[b]"}  # the same artifacts as with one epoch, and so the same report
    one.go("lock")
    gc.end()
    assert damage(one.store) == []
    assert one.ran() == set()


HOLD_LATER = """
from kpipe.store import Store
hold = Store.hold

def later(store, digests):
    if any(len(digest) == 64 for digest in digests):
        pause("found", "collected", 1)
    hold(store, digests)

Store.hold = later
"""


@pytest.mark.slow
def test_gc_takes_nothing_between_a_look_up_and_the_use(one: Shared) -> None:
    one.run("--set", "stages.fit.params.epochs=1")
    one.run()
    run = one.begin("run", "--set", "stages.fit.params.epochs=1", patch=paused(one, HOLD_LATER))
    wait_for(one.folder / "found")
    (one.store / "runs.jsonl").unlink()  # nothing is needed any more, as far as the history knows
    assert one.kpipe("gc", "--delete").code == 0
    one.go("collected")
    assert "load    cached" in run.end()
    assert one.computed["load"] == 1
    assert one.ran("--set", "stages.fit.params.epochs=1") == set()


@pytest.mark.slow
def test_two_gc_at_once_do_not_disturb_each_other(one: Shared) -> None:
    slower = gc_that_will_remove(one)
    assert one.kpipe("gc", "--keep-runs", "1", "--delete").code == 0
    assert one.ran("--set", "stages.fit.params.epochs=1") == ALL - {"load"}
    one.run()
    one.go("lock")
    slower.end()
    assert len([path for path in (one.store / "objects").iterdir() if path.is_dir()]) == len(ALL)
    assert list(one.store.glob("trash/*")) == []
    assert_sound(one)


def test_gc_keeps_the_logs_of_a_kpipe_that_runs(one: Shared) -> None:
    one.first("print('hello', flush=True); helper.wait('go')")
    run = one.begin("run")
    wait_for(one.folder / "started")
    assert one.kpipe("gc", "--delete").code == 0
    one.go()
    run.end()
    assert one.kpipe("logs", "load").out == "hello\n"


CLOSE_LATER = """
from kpipe.session import Session
close = Session.close

def later(session):
    pause("closing", "reads")
    close(session)
    pause("closed", "closing")

Session.close = later
"""
READ_LATER = """
from pathlib import Path
read_text = Path.read_text

def later(path, *args, **options):
    if path.suffix == ".lock":
        pause("reads", "closed")
    return read_text(path, *args, **options)

Path.read_text = later
"""


def test_gc_is_not_disturbed_by_a_run_that_ends(one: Shared) -> None:
    one.run()
    run = one.begin("run", patch=paused(one, CLOSE_LATER))
    wait_for(one.folder / "closing")
    gc = one.begin("gc", "--delete", patch=paused(one, READ_LATER))
    gc.end()
    run.end()
    assert_sound(one)


LIST_LATER = """
import os
scandir = os.scandir

class Listed:
    def __init__(self, path):
        with scandir(path) as found:
            self.entries = list(found)
        pause("listed", "gone")
    def __enter__(self):
        return self
    def __exit__(self, *error):
        pass
    def __iter__(self):
        return self
    def __next__(self):
        if not self.entries:
            raise StopIteration
        return self.entries.pop()
    def close(self):
        pass

os.scandir = lambda path=".": (Listed if isinstance(path, (str, os.PathLike)) and "half" in os.fspath(path) else scandir)(path)
"""


@pytest.mark.parametrize("folder", ["stage.scratch", "memo_folder"])
def test_gc_is_not_disturbed_by_files_that_a_stage_removes(one: Shared, folder: str) -> None:
    one.first("memo_folder = stage.scratch.parents[1] / 'memo' / 'numbers' / 'any'; memo_folder.mkdir(parents=True)")
    one.first(f"half = {folder} / 'half'; half.mkdir(); (half / 'file').touch(); helper.wait('listed'); shutil.rmtree(half)")
    one.edit("stages/load.py", "from kpipe", "import shutil\nfrom kpipe")
    one.edit("stages/load.py", "shutil.rmtree(half)", "shutil.rmtree(half); (helper.FOLDER / 'gone').touch()")
    run = one.begin("run")
    wait_for(one.folder / "started")
    gc = one.begin("gc", "--delete", patch=paused(one, LIST_LATER))
    gc.end()
    run.end()
    assert_sound(one)


RENAME_LATER = """
from pathlib import Path
rename = Path.rename

def later(path, target):
    if "memo" in path.parts:
        pause("takes", "opened", 1)
    return rename(path, target)

Path.rename = later
"""


@pytest.mark.slow
def test_gc_never_takes_a_memo_that_is_being_opened(one: Shared) -> None:
    one.first("helper.wait('takes')")
    one.edit("stages/load.py", "    words = [p.read_text() for p in sorted(source.iterdir())]\n", MEMO)
    one.edit(
        "stages/load.py",
        '        text = " "',
        '        (helper.FOLDER / "opened").touch(); helper.wait("go")\n        text = " "',
    )
    for name in ("go", "takes"):
        one.go(name)
    one.run()
    shutil.rmtree(one.store / "records")
    for name in ("go", "takes", "opened", "started"):
        (one.folder / name).unlink()
    (memo,) = one.store.glob("memo/*/*")
    os.utime(memo, (1, 1))
    run = one.begin("run")
    wait_for(one.folder / "started")
    gc = one.begin("gc", "--delete", patch=paused(one, RENAME_LATER))
    gc.end()
    one.go()
    run.end()
    assert next(one.store.glob("objects/*/words.txt")).read_text() == "half whole"
    assert_sound(one)


CHECK_LATER = """
from kpipe import verification

class Later(verification.ThreadPoolExecutor):
    def map(self, *args):
        pause("listed", "collected", 1)
        return super().map(*args)

verification.ThreadPoolExecutor = Later
"""


@pytest.mark.slow
def test_verify_finds_no_damage_in_what_gc_removes(one: Shared) -> None:
    one.run("--set", "stages.fit.params.epochs=1")
    one.edit("stages/deep.py", "10", "11")
    one.run()
    verifying = one.begin("verify", patch=paused(one, CHECK_LATER))
    wait_for(one.folder / "listed")
    gc = one.kpipe("gc", "--keep-runs", "1", "--delete")  # it may wait for verify, or verify for it
    one.go("collected")
    said = verifying.end()
    assert gc.code == 0
    assert "set aside" not in said
    assert list((one.store / "quarantine").glob("*")) == []
    assert_sound(one)


def test_two_verify_at_once_set_the_same_damage_aside_once(one: Shared) -> None:
    one.run()
    flip(next(one.store.glob("objects/*/words.txt")))
    flip(next(one.store.glob("records/*.json")))
    flip(next(one.store.glob("code/*.json")))
    slower = one.begin("verify", patch=paused(one, CHECK_LATER))
    wait_for(one.folder / "listed")
    assert one.kpipe("verify").code == 1
    one.go("collected")
    assert slower.process.wait(60) in (0, 1)
    assert "error:" not in slower.told.read_text(), slower.told.read_text()
    assert len(list((one.store / "quarantine").iterdir())) == 3
    one.run()
    assert_sound(one)


# moments that two processes seldom meet in


def test_key_that_another_kpipe_finished_meanwhile_is_not_computed_again(one: Shared) -> None:
    one.edit("stages/fit.py", "    stage.measure", "    if rate == 0.5: wait('go')\n    stage.measure")
    first = one.begin("run")  # its only job is fit[a]; that fit[b] has to run it has seen already
    wait_for(one.folder / "started")
    assert one.ran("--until", "fit[b]") == {"fit[b]"}
    one.go()
    assert "fit[b]  cached" in first.end()
    assert one.computed == ONCE
    assert_sound(one)


@pytest.mark.slow
def test_artifact_that_another_kpipe_mended_is_not_set_aside_again(one: Shared) -> None:
    one.edit("stages/fit.py", "    stage.measure", "    if rate == 0.5: wait('go')\n    stage.measure")
    one.go()
    one.run()
    records = {instance: one.store / "records" / f"{key}.json" for instance, key, _ in one.records()}
    artifacts = {instance: one.store / "objects" / output for instance, _, output in one.records()}
    flip(artifacts["fit[b]"] / "fit.txt")
    os.utime(artifacts["fit[b]"] / "fit.txt")
    records["fit[a]"].unlink()
    for name in ("go", "started", "computed"):
        (one.folder / name).unlink()
    first = one.begin("run")  # its only job is fit[a]; that fit[b] is damaged it has seen already
    wait_for(one.folder / "started")
    assert one.ran("--until", "fit[b]") == {"fit[b]"}
    one.go()
    first.end()
    assert one.computed == {"fit 0.5 8": 1, "fit 2.0 8": 1}
    assert len(list((one.store / "quarantine").iterdir())) == 1
    assert_sound(one)


LOCK_SESSION = """
import fcntl
import os
flock = fcntl.flock

def later(file, kind):
    path = os.readlink(f"/proc/self/fd/{file if isinstance(file, int) else file.fileno()}")
    if os.path.dirname(path).endswith("staging") and path.endswith(".lock"):
        %s
    else:
        flock(file, kind)

fcntl.flock = later
"""
OWNER = 'pause("created", "swept"); flock(file, kind)'
SWEEPER = 'flock(file, kind); pause("swept", "done", 2)'


def test_session_that_is_swept_while_it_begins_begins_again(one: Shared) -> None:
    one.run()
    owner = one.begin("run", patch=paused(one, LOCK_SESSION % OWNER))
    wait_for(one.folder / "created")
    sweeper = one.begin("run", patch=paused(one, LOCK_SESSION % SWEEPER))
    owner.end()
    one.go("done")
    sweeper.end()
    assert_sound(one)
