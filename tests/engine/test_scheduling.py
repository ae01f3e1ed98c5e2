"""What runs when, how often, on what: selection, jobs, GPUs, retries, timeouts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kpipe.executors.environment import environment
from kpipe.identity import keras_identity
from tests.engine.conftest import ALL, Toy

FITS = {"fit[a]", "fit[b]"}


def cached(toy: Toy, *args: str) -> dict[str, str]:
    return {id_: status for id_, status in toy.run(*args).items() if status == "cached"}


def test_from_runs_a_stage_and_what_needs_it(toy: Toy) -> None:
    toy.run()
    toy.edit("stages/load.py", "    words =", "    words = ['x']; words +=")
    toy.run("--until", "load")
    assert toy.ran("--from", "fit") == FITS | {"report"}
    assert toy.ran("--from", "fit", "--set", "stages.fit.params.epochs=9") == FITS | {"report"}
    assert toy.ran("--from", "fit", "--until", "fit", "--set", "stages.fit.params.epochs=10") == FITS


@pytest.mark.parametrize("seconds", [30 * 86_400, 400 * 365 * 86_400, 2**63 - 1])
def test_a_timeout_may_be_longer_than_the_system_can_wait(toy: Toy, seconds: int) -> None:
    toy.edit("pipeline.toml", "[stages.load]", f"[stages.load]\ntimeout = {seconds}")
    assert toy.run("--until", "load") == {"load": "done"}


def test_only_runs_a_stage_alone(toy: Toy) -> None:
    toy.run()
    assert toy.ran("--only", "fit[b]", "--set", "stages.fit.params.epochs=9") == {"fit[b]"}
    assert set(cached(toy, "--only", "fit[b]")) == {"load", "fit[b]"}


@pytest.mark.parametrize("option", ["--from", "--only"])
@pytest.mark.parametrize("command", ["run", "plan"])
def test_stage_chosen_alone_whose_needs_are_not_up_to_date_is_refused(toy: Toy, option: str, command: str) -> None:
    toy.run()
    toy.write("data/1.txt", "changed")
    result = toy.kpipe(command, option, "fit")
    assert result.code == 2
    assert result.err == (
        "error: load: needed, not among the chosen stages, and not up to date (file source changed)\n"
        "  hint: kpipe run --until load makes what is needed\n"
    )


def test_choice_that_leaves_nothing_is_an_error(toy: Toy) -> None:
    result = toy.kpipe("run", "--from", "report", "--until", "load")
    assert result.code == 2
    assert "--from report and --until load leave no stage" in result.err
    assert "--until load and --only fit leave no stage" in toy.kpipe("run", "--only", "fit", "--until", "load").err


def failing(toy: Toy, times: int) -> None:
    """fit fails so many times in each branch."""
    toy.edit("pipeline.toml", 'needs = ["load"]\n', 'needs = ["load"]\nretries = 2\n')
    toy.edit(
        "stages/fit.py",
        "    stage.measure",
        "    with open(f'FOLDER/tries-{rate}', 'a+') as f:\n"
        "        f.write('x'); f.seek(0); tries = len(f.read())\n"
        "    (stage.out / 'half').touch()\n"
        "    if tries <= TIMES: raise OSError(f'bad luck {tries}')\n"
        "    (stage.out / 'half').unlink()\n"
        "    stage.measure",
    )
    toy.edit("stages/fit.py", "FOLDER", str(toy.root))
    toy.edit("stages/fit.py", "TIMES", str(times))


def test_failed_attempt_is_tried_again_and_said(toy: Toy) -> None:
    failing(toy, 2)
    result = toy.kpipe("run")
    assert result.code == 0, result.err
    assert "fit[a]  notice: attempt 1 failed: OSError: bad luck 1; it is tried again\n" in result.err
    assert "fit[a]  notice: attempt 2 failed: OSError: bad luck 2" in result.err
    assert "Traceback" not in result.err
    assert toy.report == "Toy\na: 10.0 after 8\nb: 40.0 after 8"
    assert "notice: attempt 1 failed" in toy.kpipe("run").err


def test_attempts_end_and_leave_the_last_traceback_once(toy: Toy) -> None:
    failing(toy, 9)
    result = toy.kpipe("run")
    assert result.code == 1
    assert result.err.count("Traceback") == 1
    assert "error: fit[a]: OSError: bad luck 3\n" in result.err
    assert "log: .kpipe/logs/" in result.err


def test_attempts_are_no_part_of_the_key(toy: Toy) -> None:
    toy.run()
    toy.edit("pipeline.toml", 'needs = ["load"]\n', 'needs = ["load"]\nretries = 2\ntimeout = 600\n')
    assert toy.ran() == set()


def test_mistake_that_a_person_must_mend_is_not_tried_again(toy: Toy) -> None:
    toy.edit("pipeline.toml", 'needs = ["load"]\n', 'needs = ["load"]\nretries = 2\n')
    toy.edit("stages/fit.py", "import Stage\n", "import Stage, StageError\n")
    toy.edit("stages/fit.py", "    stage.measure", "    raise StageError('no good')\n    stage.measure")
    result = toy.kpipe("run")
    assert result.code == 1
    assert "attempt" not in result.err


def test_stage_that_takes_too_long_is_stopped(toy: Toy) -> None:
    toy.edit("pipeline.toml", 'needs = ["load"]\n', 'needs = ["load"]\ntimeout = 1\n')
    toy.edit("stages/fit.py", "    stage.measure", "    import time; time.sleep(60 if rate < 1 else 0)\n    stage.measure")
    result = toy.kpipe("run", "--keep-going")
    assert result.code == 1
    assert "error: fit[a]: it took longer than its timeout of 1 s and was stopped\n" in result.err
    assert "b: 40.0 after 8" in toy.report and "a:" not in toy.report


def test_idle_and_failed_workers_do_not_block_the_slot_of_another(toy: Toy) -> None:
    toy.edit("pipeline.toml", 'needs = ["load"]\n', 'needs = ["load"]\nretries = 1\ntimeout = 1\n')
    toy.edit(
        "stages/fit.py",
        "    stage.measure",
        "    import time; time.sleep(0 if GO.exists() else [GO.touch(), 60][1])\n    stage.measure",
    )
    toy.edit("stages/fit.py", "def run", f"from pathlib import Path\nGO = Path({str(toy.root / 'go')!r})\n\ndef run")
    assert toy.ran() == ALL


def test_same_work_is_done_once(toy: Toy) -> None:
    toy.edit("pipeline.toml", "rate = 2 }", "rate = 0.5 }")
    toy.edit("stages/fit.py", "    stage.measure", f"    open('{toy.root}/count', 'a').write('x')\n    stage.measure")
    toy.run("--jobs", "4")
    assert (toy.root / "count").read_text() == "x"
    assert toy.report == "Toy\na: 10.0 after 8\nb: 10.0 after 8"


WITH_GPUS = """
import sys
from kpipe import cli, identity, slots
identity.gpus = slots.gpus = lambda: ["0", "1"]
identity.device_kind = slots.device_kind = lambda backend: "gpu"
sys.exit(cli.invoke(sys.argv[1:]))
"""


def test_branches_side_by_side_have_a_gpu_each(toy: Toy) -> None:
    four = ", ".join(f'{{ name = "{n}", rate = {n} }}' for n in range(1, 5))
    toy.edit("pipeline.toml", '{ name = "a", rate = 0.5 }, { name = "b", rate = 2 }', four)
    toy.edit(
        "stages/fit.py",
        "    stage.measure",
        "    import os, time\n"
        f"    mine = '{toy.root}/gpu-' + os.environ['CUDA_VISIBLE_DEVICES']\n"
        "    os.close(os.open(mine, os.O_CREAT | os.O_EXCL))\n"
        "    time.sleep(0.3)\n"
        "    os.unlink(mine)\n"
        f"    open('{toy.root}/gpus', 'a').write(mine[-1])\n"
        "    stage.measure",
    )
    toy.edit("stages/fit.py", "def run", "def unused():\n    import keras\n\ndef run")
    _, environment = toy.command()
    command = [sys.executable, "-c", WITH_GPUS, "run", "--jobs", "4"]
    done = subprocess.run(command, cwd=toy.root, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert sorted((toy.root / "gpus").read_text()) == ["0", "0", "1", "1"]


def test_threads_are_divided_among_jobs(toy: Toy) -> None:
    toy.edit(
        "stages/fit.py",
        "    stage.measure",
        f"    import os; open('{toy.root}/threads', 'a').write(os.environ['NPROC'])\n    stage.measure",
    )
    toy.environment = {"OMP_NUM_THREADS": "7"}
    toy.run("--jobs", "2")
    assert set((toy.root / "threads").read_text()) == {str(max(1, (os.cpu_count() or 1) // 2))}


def test_programs_that_jax_compiled_are_kept_in_the_store_and_go_with_gc(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    def folder(backend: str) -> str | None:
        task: Any = SimpleNamespace(backend=backend, gpus=(), store=str(toy.root / ".kpipe"))
        return environment(task, slots=1).get("JAX_COMPILATION_CACHE_DIR")

    toy.run()
    kept = Path(folder("jax") or "")
    assert kept.is_dir() and kept.parent == toy.root / ".kpipe" / "compiled"
    assert folder("tensorflow") is None
    os.utime(kept, (1, 1))
    assert json.loads(toy.kpipe("gc", "--keep-runs", "1", "--json").out)["items"][0]["kind"] == "compiled"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    assert folder("jax") == "mine"


@pytest.mark.parametrize("user", [None, "", "0", "1"])
def test_a_worker_has_the_variables_that_its_key_names(user: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if user is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", user)
    for backend, expected in (("tensorflow", user or "1"), ("jax", user)):
        task: Any = SimpleNamespace(backend=backend, gpus=(), store=str(tmp_path))
        assert environment(task, slots=1).get("TF_ENABLE_ONEDNN_OPTS") == expected
        assert keras_identity(backend).get("TF_ENABLE_ONEDNN_OPTS") == (expected if backend == "tensorflow" else None)


def test_what_an_idle_worker_can_do_comes_first(toy: Toy) -> None:
    """So that each backend is imported once: a worker of another one takes its place."""
    toy.edit("pipeline.toml", "[matrix]\n", '[matrix]\nbackend = ["tensorflow", "jax"]\n')
    toy.edit("stages/fit.py", '"""Fits."""', "import os\n\ndef never() -> None:\n    import keras\n    print(keras)\n")
    toy.edit("stages/fit.py", "    stage.measure(", "    stage.measure(worker=os.getpid(), ")
    toy.write("stages/score.py", (toy.root / "stages" / "fit.py").read_text())
    toy.edit("pipeline.toml", "[stages.report]", '[stages.score]\nrun = "stages.score"\nneeds = ["load", "fit"]\n'
             '[stages.score.params]\nrate = "${model.rate}"\n[stages.report]')  # fmt: skip
    rows = toy.kpipe("run", "--json").json["instances"]
    workers = {(row["backend"], row["measures"]["worker"]) for row in rows if row["stage"] in ("fit", "score")}
    assert len(workers) == 2, rows
