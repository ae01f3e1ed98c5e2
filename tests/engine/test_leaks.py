"""A stage is given a process as if that was new, and ends in it: what one does there does not reach the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import Toy

TWO = """
[pipeline]
name = "toy"
[stages.first]
run = "stages.first"
[stages.second]
run = "stages.second"
needs = ["first"]
"""
FIRST = """
import os
{above}
def run(stage):
    (stage.out / "said").write_text("first")
{body}
"""
SECOND = """
{above}
def run(stage):
    {body}
    (stage.out / "said").write_text(str({value}))
"""


def two(toy: Toy, above: str = "", body: str = "pass", value: str = "1", second: str = "pass", imports: str = "") -> None:
    toy.write("pipeline.toml", TWO)
    toy.write("stages/first.py", FIRST.format(above=above, body="    " + body.replace("\n", "\n    ")))
    toy.write("stages/second.py", SECOND.format(above=imports, body=second.replace("\n", "\n    "), value=value))


def said(toy: Toy, *args: str) -> str:
    result = toy.kpipe("run", "--json", *args)
    assert result.code == 0, result.err
    [second] = [row for row in result.json["instances"] if row["instance"] == "second"]
    return (toy.root / ".kpipe" / "objects" / second["output"] / "said").read_text()


@pytest.mark.parametrize(
    ("leak", "value"),
    [
        ("os.chdir('/')", "os.getcwd()"),
        ("os.chdir(stage.out)", "os.getcwd()"),
        ("os.environ['LEAK'] = '1'", "os.environ.get('LEAK')"),
        ("os.environ['HOME'] = '/leak'", "os.environ['HOME']"),
        ("del os.environ['HOME']", "os.environ.get('HOME')"),
        ("import sys; sys.path.append('/leak')", "[p for p in sys.path if 'leak' in p]"),
        ("import sys; sys.path.clear()", "len(sys.path)"),
        ("os.umask(0o077)", "oct(os.umask(0))"),
        ("import decimal; decimal.getcontext().prec = 3", "decimal.Decimal(1) / 3"),
        ("import random; random.random()", "random.random()"),
        ("import numpy; numpy.random.rand()", "numpy.random.rand()"),
        ("import numpy", "numpy.random.rand()"),
    ],
)
@pytest.mark.parametrize("where", ["when it is imported", "when it runs"])
def test_second_stage_of_a_process_does_what_it_does_in_a_new_one(toy: Toy, leak: str, value: str, where: str) -> None:
    if where == "when it is imported" and "stage." in leak:
        pytest.skip("there is no stage then")
    above, body = (leak, "pass") if where == "when it is imported" else ("", leak)
    modules = "import decimal, os, random, sys" + (", numpy" if "numpy" in value and "imported" in where else "")
    inside = "import numpy" if "numpy" in value else "pass"
    two(toy, above, body, value, inside, modules)
    after = said(toy, "--jobs", "1")
    assert after == said(toy, "--force", "second")


@pytest.mark.parametrize("library", ["random", "numpy"])
def test_random_numbers_begin_alike_whatever_was_imported_and_drawn_before(toy: Toy, tmp_path: Path, library: str) -> None:
    """Also where a module draws some when it is imported, a library's (for one process once) or the stage's own."""
    draw = "random.random()" if library == "random" else "numpy.random.rand()"
    (tmp_path / "lottery.py").write_text(f"import {library}\nDRAWN = {draw}\n")
    toy.environment["PYTHONPATH"] = f"{Path(__file__).parents[2]}:{tmp_path}"
    own = f"import {library}\nOWN = {draw}\nimport lottery"
    two(toy, f"import lottery, {library}\n{draw}", draw, f"(OWN, {draw})", imports=own)
    assert said(toy, "--jobs", "1") == said(toy, "--force", "second")


FORK = "import time\nif os.fork() == 0:\n    {child}"
SLOW = '(stage.out / "half").write_text("half")\nimport time; time.sleep(1.5)\n(stage.out / "half").unlink()'


@pytest.mark.parametrize(
    "child", ["time.sleep(0.5)", "time.sleep(0.5); raise ValueError", "time.sleep(0.5); raise SystemExit(0)"]
)
def test_forked_child_that_comes_back_from_run_ends_nothing_but_itself(toy: Toy, child: str) -> None:
    two(toy, body=FORK.format(child=child), second=SLOW)
    assert said(toy, "--jobs", "1") == "1"
    assert list((toy.root / ".kpipe" / "objects").glob("*/half")) == []


@pytest.mark.parametrize(("child", "status"), [("return", 0), ("raise ValueError", 1), ("raise SystemExit(3)", 3)])
def test_forked_child_ends_as_in_any_program(toy: Toy, child: str, status: int) -> None:
    two(
        toy,
        body=f"child = os.fork()\nif child == 0:\n    {child}\nassert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == {status}",
    )
    said(toy)


def test_thread_that_outlives_its_stage_says_nothing_for_the_next(toy: Toy) -> None:
    late = "    import time; time.sleep(0.5); stage.notice('late'); stage.measure(late=1)"
    two(toy, body=f"import threading\ndef late():\n{late}\nthreading.Thread(target=late, daemon=True).start()", second=SLOW)
    result = toy.kpipe("run", "--json", "--jobs", "1")
    [second] = [row for row in result.json["instances"] if row["instance"] == "second"]
    assert "late" not in second["measures"] and "late" not in result.err


@pytest.mark.parametrize("who", ["a process of its own", "a pool"])
def test_worker_that_dies_is_noticed_though_a_child_holds_its_pipe(toy: Toy, who: str) -> None:
    fork = "multiprocessing.get_context('fork')"
    start = (
        f"{fork}.Process(target=time.sleep, args=(60,)).start()" if "own" in who else f"pool = {fork}.Pool(1); pool.map(abs, [1])"
    )
    two(toy, "import multiprocessing, time", f"{start}\nos.kill(os.getpid(), 9)")
    process = toy.start("run")
    _, err = process.communicate(timeout=40)  # before the child ends
    assert process.returncode == 1
    assert "error: first: its process was ended by SIGKILL" in err


@pytest.mark.slow
def test_libraries_are_left_out_of_garbage_collections_but_nothing_of_a_stage(toy: Toy) -> None:
    """Not even of the first, which imports them: what it remembers is collected when the next stage begins."""
    cycle = "class Remembered: pass\nREMEMBERED = Remembered()\nREMEMBERED.itself = REMEMBERED"
    two(
        toy,
        f"import keras, sys, weakref\n{cycle}\nsys.remembered = weakref.ref(REMEMBERED)",
        value="1",
        second="stage.measure(frozen=gc.get_freeze_count(), tracked=len(gc.get_objects()), left=sys.remembered() is not None)",
        imports="import gc, sys\nimport keras",
    )
    told = toy.kpipe("run", "--json", "--jobs", "1").json["instances"][1]["measures"]
    assert told["left"] is False
    assert told["frozen"] > 10 * told["tracked"]
