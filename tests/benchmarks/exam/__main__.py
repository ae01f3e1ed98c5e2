"""The doctor's exam: does the diagnosis find the fault that was put in, name its cause, mend it, and keep quiet where there is none?

    python -m tests.benchmarks.exam --every 20        a sample, in minutes
    python -m tests.benchmarks.exam --work FOLDER     all of it, in some hours; goes on where it was stopped
    python -m tests.benchmarks.exam --work FOLDER --show faults    each case that was not as it should be
    python -m tests.benchmarks.exam --work FOLDER --backend jax --processes 16    on a machine with a GPU, all of it in minutes

Half of the runs are branches of a pipeline file. The other half are networks made by plain Keras, of which `kpipe doctor` gets a
.keras file, a folder and a history: there the fault is in pixels, labels or weights, and no configuration tells of it. Needs
photographs in train/, validation/ and test/ and weights without their top; nothing is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from kpipe.executors.environment import THREADS, compiled
from kpipe.identity import CHOSEN, gpus
from tests.benchmarks.engine import machine
from tests.benchmarks.exam import declared, marks
from tests.benchmarks.exam.cases import BACKENDS, MODELS, Case, cases
from tests.benchmarks.exam.results import results
from tests.benchmarks.timing import environment
from tests.benchmarks.training.peers import ROOT

SHARED = ROOT.parent / "shared"
MOST = 8  # cases that a process examines: another one may then go on where it would wait for the last of them


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.exam", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="where runs are kept; without it, in none")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth run")
    parser.add_argument("--only", metavar="TEXT", default="", help="take runs with this text in their name")
    parser.add_argument("--backend", choices=BACKENDS, help="all runs on this one; else each on its own")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="at a time (%(default)s)")
    parser.add_argument("--show", choices=("faults", "all"), help="tell of single runs too")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "dogs_vs_cats_small", metavar="FOLDER")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights", metavar="FOLDER")
    asked = parser.parse_args(argv)
    for option, kind in (("data", "train/cats/*"), ("weights", "*notop*.h5")):
        if next(getattr(asked, option).glob(kind), None) is None:
            parser.error(f"--{option} {getattr(asked, option)}: no {kind} there")
    return asked


def hidden(chosen: Sequence[Case], work: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Results of the hidden half, by backend and name; processes with one thread, each with networks of one backend and model."""
    ours = [case for case in chosen if case.half == "hidden"]
    parts = []
    for backend, model in product(BACKENDS, MODELS):
        some = [case.key for case in ours if (case.backend, case.model) == (backend, model)]
        parts += [(backend, part) for part in split(some, MOST)]
    with ThreadPoolExecutor(asked.processes) as pool:
        codes = list(pool.map(lambda part: in_a_process(*part, work, asked), parts))
    if any(codes):
        sys.exit("the hidden half failed; what it did is kept")
    return {case.key: json.loads((results(work) / f"{case.key}.json").read_text()) for case in ours}


def in_a_process(backend: str, names: Sequence[str], work: Path, asked: argparse.Namespace) -> int:
    """Write the results of these cases that are not there; the process's exit status."""
    module = (sys.executable, "-m", "tests.benchmarks.exam.hidden", str(work), str(asked.data), str(asked.weights), *names)
    growing = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2"} if gpus() else {"TF_CPP_MIN_LOG_LEVEL": "2", "JAX_PLATFORMS": "cpu"}
    own = compiled(work) | growing | quiet | dict.fromkeys(THREADS, "1") | CHOSEN[backend]
    return subprocess.run(module, cwd=ROOT, env=environment(KERAS_BACKEND=backend, **own), stdout=sys.stderr).returncode


def split(values: Sequence[Any], most: int) -> list[Sequence[Any]]:
    """Parts of at most so many."""
    return [values[start : start + most] for start in range(0, len(values), most)]


def with_fixes(chosen: Sequence[Case], work: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Results of the declared half: as declared, without the fault, and with the fixes that were named."""
    ours = [case for case in chosen if case.half == "declared"]
    healthy = [case.healthy() for case in ours if case.fault]
    everything = list({(case.backend, case.name): case for case in (*ours, *healthy)}.values())
    run = partial(declared.run, work=work, photographs=asked.data, weights=asked.weights, processes=asked.processes)
    told = run(everything, {})
    fixes = {case.key: fix for case in ours if case.fault and (fix := marks.fix(case, told[case.key]))}
    mended = run([case for case in ours if case.key in fixes], fixes)
    for case in ours:
        if case.fault:
            told[case.key]["healthy"] = told[case.healthy().key]["accuracy"]
            told[case.key]["mended"] = (mended[case.key]["accuracy"] or 0.0) if case.key in fixes else None
    return {case.key: told[case.key] for case in ours}


def main(argv: Sequence[str]) -> None:
    """Run what was not run yet, and print the marks."""
    asked = arguments(argv)
    chosen = [case for case in cases(asked.backend) if asked.only in case.name][:: asked.every]
    with nullcontext(asked.work) if asked.work else tempfile.TemporaryDirectory(prefix="kpipe-exam-") as name:
        work = Path(name).absolute()
        work.mkdir(parents=True, exist_ok=True)
        told = hidden(chosen, work, asked) | with_fixes(chosen, work, asked)
    print("$ " + shlex.join(["python", "-m", "tests.benchmarks.exam", *argv]))
    print("\n".join(machine()) + "\n")
    marked = [marks.mark(case, told[case.key]) for case in chosen]
    print(marks.table(marked))
    for one in marked if asked.show else ():
        if asked.show == "all" or one.wrong:
            print(one.line())


if __name__ == "__main__":
    main(sys.argv[1:])
