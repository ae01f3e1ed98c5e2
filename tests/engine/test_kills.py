"""Kill safety: SIGKILL at every instant of a run, of gc, of verify and of a memo, and the next run needs no manual step."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kpipe.files import try_lock
from kpipe.store import Store
from kpipe.verification import verify
from tests.engine.conftest import ALL, Result, Toy
from tests.engine.test_running import wait_for
from tests.engine.test_upkeep import flip

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found through /proc")

FAULT = '''
"""Ends its process by SIGKILL before, in the middle of or after the n-th thing that it does to the disk."""
import builtins, io, json, os, re, signal, stat

NAMES = re.compile(r"[0-9a-f]{64}|[0-9]{8}T[0-9]{6}-[0-9a-f]{6}|[0-9a-f]{16}|(?<=[.-])[0-9a-f]{8}|pipe:.*")
real_open, real_write, real_io = os.open, os.write, io.open


def arm():
    """Count the instants, write each to the file STEPS, and end at the one whose number is KILL_AT."""
    at, said = int(os.environ["KILL_AT"]), real_open(os.environ["STEPS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    root, count = os.environ["TOY"], 0

    def instant(what, path):
        nonlocal count
        count += 1
        name = NAMES.sub("*", os.path.relpath(os.fspath(path), root))
        real_write(said, f"{what} {name}\\n".encode())
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(name, place=0):
        real = getattr(os, name)

        def call(*args, **options):
            path = args[place]
            folder = options.get("dir_fd")
            if isinstance(path, int) or folder is not None:
                path = os.path.join(os.readlink(f"/proc/self/fd/{path if folder is None else folder}"), "" if folder is None else path)
            if name != "fsync" and os.path.lexists(path) == (name == "mkdir"):
                return real(*args, **options)  # rename, unlink: nothing is there; mkdir: it is
            instant(f"before {name}", args[-1] if name == "rename" else path)
            found = real(*args, **options)
            instant(f"after {name}", args[-1] if name == "rename" else path)
            return found

        setattr(os, name, call)

    for name in ("rename", "fsync", "unlink", "mkdir", "rmdir", "chmod", "utime"):
        around(name)

    def created(path, flags, *args, **options):
        if not flags & os.O_CREAT or os.path.exists(path):
            return real_open(path, flags, *args, **options)
        instant("before open", path)
        found = real_open(path, flags, *args, **options)
        instant("after open", path)
        return found

    def opened(file, mode="r", *args, **options):
        again = "a" in mode and os.path.exists(file)  # a lock that is there: how often it is taken depends on the moment
        if isinstance(file, int) or not set(mode) & set("wax+") or again or os.fspath(file) == os.devnull:
            return real_io(file, mode, *args, **options)
        instant("before open", file)
        found = real_io(file, mode, *args, **options)
        instant("after open", file)
        return found

    def written(handle, data):
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return real_write(handle, data)
        path = os.readlink(f"/proc/self/fd/{handle}")
        instant("before write", path)
        done = real_write(handle, bytes(data)[: len(data) // 2])
        instant("half write", path)
        done += real_write(handle, bytes(data)[done:])
        instant("after write", path)
        return done

    def dumped(value, file, **options):
        text = json.dumps(value, **options)
        for what, part in (("before", ""), ("half", text[: len(text) // 2]), ("after", text[len(text) // 2 :])):
            file.write(part)
            file.flush()
            instant(f"{what} dump", os.readlink(f"/proc/self/fd/{file.fileno()}"))

    io.open = builtins.open = opened
    os.open, os.write, json.dump = created, written, dumped
'''

KPIPE = """
import sys
import kpipe.statcache
kpipe.statcache.RECENT_NS = -10_000_000_000  # every file is at rest: each run does the same to the disk
from kpipe.cli import invoke
{patch}
sys.exit(invoke(sys.argv[1:]))
"""
PHASES = {  # an instant in each, of which the sweep must have some
    "seal": r"before chmod .*staging/",
    "fsync": r"before fsync .*staging/",
    "before the rename of the object": r"before rename .*objects/\*$",
    "rename of the object": r"after rename .*objects/\*$",
    "manifest": r"before rename .*objects/\*\.json",
    "half a JSON file": r"half dump .*staging/",
    "code closure": r"before rename .*code/",
    "record": r"after rename .*records/",
    "head": r"before rename .*heads/",
    "history line": r"half write .*runs\.jsonl",
    "export copy": r"before rename reports/toy",
    "close": r"before unlink .*staging/.*lock",
}


class Victim(Toy):
    """A toy whose processes can be found and killed, from outside or at an instant of their own."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.patch = ""
        self.known_as(root)

    def known_as(self, root: Path) -> None:
        self.root = root
        self.environment["TOY"] = str(root)

    def copy(self, root: Path) -> Victim:
        """The project and its store in another folder."""
        shutil.copytree(self.root, root, symlinks=True)
        twin = Victim.__new__(Victim)
        twin.environment, twin.patch = dict(self.environment), self.patch
        twin.known_as(root)
        if "KPIPE_STORE" in self.environment:
            twin.environment["KPIPE_STORE"] = str(shutil.copytree(self.store, root.with_name(f"{root.name}-store")))
        return twin

    def remove(self) -> None:
        shutil.rmtree(self.root)
        shutil.rmtree(self.store, ignore_errors=True)

    def command(self, *args: str) -> tuple[list[str], dict[str, str]]:
        _, environment = super().command()
        return [sys.executable, "-c", KPIPE.format(patch=self.patch), *args], environment

    @property
    def store(self) -> Path:
        return Path(self.environment.get("KPIPE_STORE", self.root / ".kpipe"))

    def instants(self, *args: str) -> list[str]:
        """What a command does to the disk, undisturbed."""
        assert self.killed_at(0, *args).code == 0
        return (self.root / "steps").read_text().splitlines()

    def killed_at(self, instant: int, *args: str) -> Result:
        """Run a command and end it at an instant, counted from 1."""
        kill = {"KILL_AT": str(instant), "STEPS": str(self.root / "steps")}
        self.environment |= kill
        self.patch = FAULT + "\narm()\n"
        try:
            return self.kpipe(*args)
        finally:
            self.patch = ""
            self.environment = {k: v for k, v in self.environment.items() if k not in kill}

    def alive(self) -> dict[int, str]:
        """Processes of this project: pid -> command line."""
        found = {}
        mark = f"TOY={self.root}\0".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_text()
            except OSError:
                continue  # it ended just now
        return found

    def workers(self) -> list[int]:
        return sorted(pid for pid, line in self.alive().items() if "kpipe.worker" in line)

    def wait_until_nothing_lives(self) -> None:
        deadline = time.monotonic() + 10
        while found := self.alive():
            assert time.monotonic() < deadline, found
            time.sleep(0.02)

    def records(self) -> set[tuple[str, str, str]]:
        """Of every record in the store: instance, key, digest of the artifact."""
        found = [json.loads(path.read_text()) for path in (self.store / "records").glob("*.json")]
        return {(r["instance"], r["key_digest"], r["output_digest"]) for r in found}

    def reports(self) -> dict[str, bytes]:
        """Everything below reports/."""
        folder = self.root / "reports"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Undisturbed:
    """What a run gives that nobody disturbs."""

    records: set[tuple[str, str, str]]
    reports: dict[str, bytes]
    seconds: float = 0.0


def undisturbed(victim: Victim, folder: Path) -> Undisturbed:
    """What the next run of a copy gives."""
    twin = victim.copy(folder / "undisturbed")
    began = time.monotonic()
    twin.run()
    return Undisturbed(twin.records(), twin.reports(), time.monotonic() - began)


def assert_next_run_mends(victim: Victim, expected: Undisturbed) -> None:
    """After a plain run everything is as if nothing had been killed."""
    result = victim.kpipe("run")
    assert (result.code, "Traceback" in result.err) == (0, False), result.err
    assert victim.records() == expected.records
    assert victim.reports() == expected.reports
    assert_nothing_left(victim.store)
    assert damage(victim.store) == []


def damage(store: Path) -> list[str]:
    """What `kpipe verify` finds in a store."""
    return [f"{found.what}: {found.fault}" for found in verify(Store(store))[1]]


def assert_nothing_left(store: Path) -> None:
    """No draft is left, and every lock can be had."""
    assert list((store / "staging").iterdir()) == []
    for path in [*store.glob("*.lock"), *store.glob("locks/*"), *store.glob("memo/*/*/lock")]:
        lock = try_lock(path)
        assert lock, f"{path} is locked"
        lock.close()


def faults(cases: Iterable[Any], check: Callable[[Any], None]) -> dict[Any, str]:
    """The cases whose check fails, two at a time, and how."""

    def tried(case: Any) -> tuple[Any, str]:
        try:
            check(case)
        except AssertionError as e:
            return case, str(e)
        return case, ""

    with ThreadPoolExecutor(2) as pool:
        return {case: fault for case, fault in pool.map(tried, cases) if fault}


def fresh(victim: Victim) -> None:
    """Nothing was run yet."""


def edited(victim: Victim) -> None:
    """Code and data were edited since the last run."""
    assert victim.ran() == ALL
    victim.edit("stages/deep.py", "10", "11")
    victim.edit("data/1.txt", "one", "one more")


def damaged(victim: Victim) -> None:
    """An artifact, a manifest and a record are no longer what was stored; code closures and reports are gone."""
    assert victim.ran() == ALL
    flip(next(victim.store.glob("objects/*/words.txt")))
    next(victim.store.glob("objects/*/fit.txt")).parent.with_suffix(".json").write_text("{")
    flip(next(path for path in victim.store.glob("records/*.json") if '"instance": "report"' in path.read_text()))
    for path in victim.store.glob("code/*.json"):
        path.unlink()
    shutil.rmtree(victim.root / "reports")


@dataclass(frozen=True)
class Case:
    """A project before a run that will be killed, what that run does to the disk, and what it gives undisturbed."""

    victim: Victim
    instants: list[str]
    expected: Undisturbed
    whole: bool = True  # nothing in the store is damaged

    def reached(self, phase: str) -> int:
        """An instant in a phase: of several the one in the middle."""
        found = [n for n, step in enumerate(self.instants, 1) if re.match(PHASES[phase], step)]
        assert found, self.instants
        return found[len(found) // 2]

    def kill_and_mend(self, folder: Path, instant: int) -> None:
        """Kill the run at an instant; the next run is right."""
        victim = self.victim.copy(folder / str(instant))
        assert victim.killed_at(instant, "run").code == -signal.SIGKILL
        victim.wait_until_nothing_lives()
        if self.whole:
            assert damage(victim.store) == []  # nothing counts that is not whole, also before the next run
        assert_next_run_mends(victim, self.expected)
        victim.remove()


def made(history: Callable[[Victim], None], folder: Path) -> Case:
    victim = Victim(folder / "project")
    history(victim)
    expected = undisturbed(victim, folder)
    return Case(victim, victim.copy(folder / "counted").instants("run"), expected, history is not damaged)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return made(edited, tmp_path_factory.mktemp("kills"))


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_kpipe_killed_in_any_phase_needs_no_manual_step(case: Case, tmp_path: Path, phase: str) -> None:
    case.kill_and_mend(tmp_path, case.reached(phase))


@pytest.mark.slow
@pytest.mark.parametrize(("history", "each"), [(edited, 1), (fresh, 4), (damaged, 4)])
def test_kpipe_killed_at_every_instant_of_a_run_needs_no_manual_step(
    history: Callable[[Victim], None], each: int, tmp_path: Path
) -> None:
    case = made(history, tmp_path)
    assert len(case.instants) > 150
    assert all(case.reached(phase) for phase in PHASES)
    found = faults(range(1, len(case.instants) + 1, each), lambda n: case.kill_and_mend(tmp_path, n))
    assert {f"{n} {case.instants[n - 1]}": fault for n, fault in found.items()} == {}


@pytest.mark.parametrize("draft", ["cache/files/", r"objects/\*\.json", "code/", "records/", "heads/", r"cache/[^/]+$"])
def test_draft_of_a_killed_kpipe_is_gone_after_the_next_run(case: Case, tmp_path: Path, draft: str) -> None:
    victim = case.victim.copy(tmp_path / "project")
    instant = next(n for n, step in enumerate(case.instants, 1) if re.match(rf"before rename .kpipe/{draft}", step))
    victim.killed_at(instant, "run")
    assert [path for path in victim.store.rglob(".*") if path.is_file()]
    victim.run()
    assert [path for path in victim.store.rglob(".*") if path.is_file()] == []


def test_killed_run_leaves_the_history_of_the_others(case: Case, tmp_path: Path) -> None:
    victim = case.victim.copy(tmp_path / "project")
    (earlier,) = victim.kpipe("runs", "--json").json
    victim.killed_at(case.reached("history line"), "run")
    assert not (victim.store / "runs.jsonl").read_bytes().endswith(b"\n")
    assert victim.kpipe("runs", "--json").json == [earlier]
    victim.run()
    last, first = victim.kpipe("runs", "--json").json
    assert first == earlier
    assert set(last["instances"]) == ALL


# at random instants, from outside


def kill(pid: int) -> bool:
    """Whether there was something to kill."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill_worker(victim: Victim, process: subprocess.Popen[str], dice: random.Random) -> bool:
    """Kill a worker as soon as there is one; whether that was before kpipe ended."""
    while process.poll() is None:
        if workers := victim.workers():
            return kill(dice.choice(workers))
        time.sleep(0.005)
    return False


def kill_something(victim: Victim, who: str, dice: random.Random, seconds: float) -> bool:
    """Run, and kill the worker, kpipe or both after some time; whether there was anything to kill."""
    before = victim.records()
    process = victim.start("run", "--jobs", str(dice.choice([1, 2])))
    time.sleep(dice.uniform(0, seconds))
    killed = False
    if who != "kpipe":
        killed |= kill_worker(victim, process, dice)
    if who != "worker":
        killed |= process.poll() is None and kill(process.pid)
    _, err = process.communicate(timeout=60)
    if who == "worker":
        assert process.returncode in (0, 1), err
        failed = re.findall(r"^error: (\S+): its process was ended by SIGKILL$", err, re.MULTILINE)
        assert bool(failed) == bool(process.returncode), err
        assert not {instance for instance, _, _ in victim.records() - before} & set(failed)
    victim.wait_until_nothing_lives()
    return killed


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A project with the store of another one."""
    folder = tmp_path_factory.mktemp("kills")
    victim, neighbour = Victim(folder / "project"), Victim(folder / "neighbour")
    victim.environment["KPIPE_STORE"] = neighbour.environment["KPIPE_STORE"] = str(folder / "store")
    edited(neighbour)
    assert neighbour.ran() == ALL
    victim.edit("stages/deep.py", "10", "12")
    return Case(victim, [], undisturbed(victim, folder))


WHO = ("worker", "kpipe", "both")


def kills_at_random(cases: tuple[Case, Case], folder: Path, seeds: Iterable[int]) -> int:
    """Kill each kind of process with each seed; the next run is always right. How many kills met their process."""
    seconds = cases[0].expected.seconds
    killed = []

    def check(tried: tuple[str, int]) -> None:
        who, seed = tried
        victim = cases[seed % 2].victim.copy(folder / f"{who}-{seed}")
        killed.append(kill_something(victim, who, random.Random(f"{who} {seed}"), seconds))
        assert_next_run_mends(victim, cases[seed % 2].expected)
        victim.remove()

    assert faults([(who, seed) for seed in seeds for who in WHO], check) == {}
    return sum(killed)


@pytest.mark.slow
def test_kill_at_a_random_instant_needs_no_manual_step(case: Case, shared: Case, tmp_path: Path) -> None:
    assert kills_at_random((case, shared), tmp_path, range(3)) > 0


@pytest.mark.slow
def test_hundred_kills_at_random_instants_need_no_manual_step(case: Case, shared: Case, tmp_path: Path) -> None:
    killed = seed = 0
    while killed < 100:
        assert seed < 100
        killed += kills_at_random((case, shared), tmp_path, range(seed, seed + 10))
        seed += 10


IDLE = """
import os, signal
from kpipe.executors.local import LocalExecutor, Worker

made, given, real, start = [], [], getattr(%s), Worker.__init__

def started(worker, *args):
    start(worker, *args)
    made.append(worker.process.pid)

def kill_first(executor_or_worker, task):
    if len(given) == 1:  # the first stage is done, and its worker waits for the next
        os.kill(made[0], signal.SIGKILL)
        os.waitid(os.P_PID, made[0], os.WEXITED | os.WNOWAIT)
    given.append(task)
    real(executor_or_worker, task)

Worker.__init__ = started
setattr(%s, kill_first)
"""


@pytest.mark.parametrize("moment", ["LocalExecutor, 'submit'", "Worker, 'give'"])
def test_worker_that_was_killed_between_two_stages_is_replaced(case: Case, tmp_path: Path, moment: str) -> None:
    victim = case.victim.copy(tmp_path / "project")
    victim.patch = IDLE % (moment, moment)
    result = victim.kpipe("run")
    assert result.code == 0, result.err
    victim.patch = ""
    assert_next_run_mends(victim, case.expected)


def test_worker_killed_in_a_stage_fails_that_stage_alone(case: Case, tmp_path: Path) -> None:
    victim = case.victim.copy(tmp_path / "project")
    before = victim.records()
    victim.edit("stages/fit.py", "    stage.measure", f"    if rate < 1: {hang(victim)}\n    stage.measure")
    process = victim.start("run", "--keep-going", "--jobs", "2")
    wait_for(victim.root / "started")
    kill(int((victim.root / "started").read_text()))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: fit[a]: its process was ended by SIGKILL\n  hint: " in err
    assert "Traceback" not in err
    assert {instance for instance, _, _ in victim.records() - before} == ALL - {"fit[a]"}
    assert_nothing_left(victim.store)


def hang(victim: Victim) -> str:
    """A line of a stage that tells its process and then waits for its end, the first time."""
    told = victim.root / "started"
    return (
        f"import os, time, pathlib; told = pathlib.Path({str(told)!r}); again = told.exists(); "
        "new = told.with_name('new'); new.write_text(str(os.getpid())); new.rename(told); again or time.sleep(60)"
    )


def test_killed_kpipe_leaves_no_process_of_a_stage_behind(case: Case, tmp_path: Path) -> None:
    victim = case.victim.copy(tmp_path / "project")
    victim.edit(
        "stages/load.py", "    words", f"    import subprocess; subprocess.Popen(['sleep', '60']); {hang(victim)}\n    words"
    )
    process = victim.start("run")
    wait_for(victim.root / "started")
    assert len(victim.alive()) == 3
    process.kill()
    process.communicate(timeout=60)
    victim.wait_until_nothing_lives()


@pytest.mark.parametrize("who", WHO)
def test_scratch_survives_a_kill_and_is_gone_after_success(tmp_path: Path, who: str) -> None:
    victim = Victim(tmp_path / "project")
    resume = "    step = stage.scratch / 'step'; seen = step.exists() and step.read_text(); step.write_text('half')"
    victim.edit("stages/load.py", "    words =", f"{resume}\n    {hang(victim)}\n    words =")
    victim.edit("stages/load.py", "for p in sorted(source.iterdir())]", "for p in sorted(source.iterdir())] + [str(seen)]")
    process = victim.start("run")
    wait_for(victim.root / "started")
    for pid in {"worker": victim.workers(), "kpipe": [process.pid], "both": [*victim.workers(), process.pid]}[who]:
        kill(pid)
    process.communicate(timeout=60)
    victim.wait_until_nothing_lives()
    assert [path.read_text() for path in (victim.store / "scratch").glob("*/step")] == ["half"]
    assert victim.ran() == ALL
    assert next(victim.store.glob("objects/*/words.txt")).read_text() == "one two half"
    assert list((victim.store / "scratch").iterdir()) == []


# a memo


FILL = """
from kpipe.stage import Folder, Stage
from stages.fault import arm

def run(stage: Stage, *, source: Folder) -> None:
    arm()
    with stage.memo("numbers", many=2) as memo:
        while len(memo.parts) < 2:
            with memo.new_part() as folder:
                (folder / "half.txt").write_text("half")
                (folder / "n.txt").write_text(str(len(memo.parts)))
        words = [(part / name).read_text() for part in memo.parts for name in ("half.txt", "n.txt")]
    (stage.out / "words.txt").write_text(" ".join(words))
"""


@pytest.fixture(scope="module")
def filling(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A stage that fills a memo, and what it does to the disk until the memo is closed."""
    folder = tmp_path_factory.mktemp("kills")
    victim = Victim(folder / "project")
    victim.write("stages/load.py", FILL)
    victim.write("stages/fault.py", FAULT)
    victim.environment |= {"KILL_AT": "0", "STEPS": os.devnull}
    victim.run("--until", "load")
    shutil.rmtree(victim.store)
    expected = undisturbed(victim, folder)
    counted = victim.copy(folder / "counted")
    counted.environment["STEPS"] = str(counted.root / "steps")
    counted.run()
    steps = (counted.root / "steps").read_text().splitlines()
    return Case(victim, steps[: next(n for n, step in enumerate(steps) if step.endswith("words.txt"))], expected)


def kill_filler(case: Case, folder: Path, instant: int) -> None:
    """Kill the worker in its memo; the next run completes the memo and has nothing of the half part."""
    victim = case.victim.copy(folder / str(instant))
    victim.environment["KILL_AT"] = str(instant)
    result = victim.kpipe("run")
    assert result.code == 1 and "error: load: its process was ended by SIGKILL" in result.err, result.err
    victim.environment["KILL_AT"] = "0"
    assert_next_run_mends(victim, case.expected)
    (memo,) = (victim.store / "memo").glob("numbers/*")
    parts = {path.stem for path in memo.glob("*.json")}
    assert len(parts) == 2
    assert {path.name for path in memo.iterdir()} - {"drafts"} == {"key", "lock", *parts, *(f"{name}.json" for name in parts)}
    assert list(memo.glob("drafts/*")) == []
    victim.remove()


@pytest.mark.slow
def test_stage_killed_while_it_fills_a_memo_needs_no_manual_step(filling: Case, tmp_path: Path) -> None:
    chosen = [r"half dump .*key", r"after open .*half\.txt", r"before rename .*/numbers/", r"half dump .*json"]
    spread = [next(n for n, step in enumerate(filling.instants, 1) if re.match(wanted, step)) for wanted in chosen]
    found = faults(spread, lambda n: kill_filler(filling, tmp_path, n))
    assert {f"{n} {filling.instants[n - 1]}": fault for n, fault in found.items()} == {}


@pytest.mark.slow
def test_stage_killed_at_every_instant_of_a_memo_needs_no_manual_step(filling: Case, tmp_path: Path) -> None:
    found = faults(range(1, len(filling.instants) + 1), lambda n: kill_filler(filling, tmp_path, n))
    assert {f"{n} {filling.instants[n - 1]}": fault for n, fault in found.items()} == {}


# upkeep


def collectable(victim: Victim) -> None:
    """A store in which gc finds artifacts, logs and scratch."""
    victim.run("--set", "stages.fit.params.epochs=1")
    assert victim.ran() == {"fit[a]", "fit[b]", "report"}
    left = victim.store / "scratch" / ("0" * 64)
    left.mkdir()
    (left / "half").write_text("half")
    os.utime(left, (1, 1))


UPKEEP = [(collectable, ("gc", "--keep-runs", "1", "--delete")), (damaged, ("verify",))]


def kill_upkeep(victim: Victim, expected: Undisturbed, folder: Path, command: tuple[str, ...], instant: int) -> None:
    """Kill gc or verify at an instant; the next run is right, and so is the next gc or verify."""
    victim = victim.copy(folder / str(instant))
    assert victim.killed_at(instant, *command).code == -signal.SIGKILL
    result = victim.kpipe("run")
    assert result.code == 0, result.err
    assert victim.reports() == expected.reports
    again = victim.kpipe(*command)
    assert again.code == 0, again.err + again.out
    assert victim.records() == expected.records
    assert_nothing_left(victim.store)
    assert [*victim.store.glob("trash/*"), *victim.store.glob("scratch/*")] == []
    assert damage(victim.store) == []
    assert victim.ran() == set()
    victim.remove()


def upkept(history: Callable[[Victim], None], command: tuple[str, ...], folder: Path) -> Case:
    victim = Victim(folder / "project")
    history(victim)
    twin = victim.copy(folder / "undisturbed")
    twin.kpipe(*command)
    twin.run()
    counted = victim.copy(folder / "counted")
    counted.killed_at(0, *command)
    steps = (counted.root / "steps").read_text().splitlines()
    return Case(victim, steps, Undisturbed(twin.records(), twin.reports()))


@pytest.mark.slow
@pytest.mark.parametrize(("history", "command"), UPKEEP)
def test_killed_upkeep_needs_no_manual_step(history: Callable[[Victim], None], command: tuple[str, ...], tmp_path: Path) -> None:
    case = upkept(history, command, tmp_path)
    spread = range(2, len(case.instants), len(case.instants) // 2)
    found = faults(spread, lambda n: kill_upkeep(case.victim, case.expected, tmp_path, command, n))
    assert {f"{n} {case.instants[n - 1]}": fault for n, fault in found.items()} == {}


@pytest.mark.slow
@pytest.mark.parametrize(("history", "command"), UPKEEP)
def test_upkeep_killed_at_every_other_instant_needs_no_manual_step(
    history: Callable[[Victim], None], command: tuple[str, ...], tmp_path: Path
) -> None:
    case = upkept(history, command, tmp_path)
    found = faults(range(1, len(case.instants) + 1, 2), lambda n: kill_upkeep(case.victim, case.expected, tmp_path, command, n))
    assert {f"{n} {case.instants[n - 1]}": fault for n, fault in found.items()} == {}
