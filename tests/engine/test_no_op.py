"""What a run costs that has nothing to do."""

from __future__ import annotations

import subprocess
import sys

from tests.engine.conftest import Toy

HEAVY = ["keras", "tensorflow", "jax", "numpy", "pandas", "matplotlib", "rich", "tree_sitter", "importlib.metadata"]

PROBE = """
import sys
from kpipe.cli import invoke
code = invoke(["run"])
print(code, [m for m in {heavy!r} if m in sys.modules])
"""


def imported_by_a_run(toy: Toy) -> str:
    probe = [sys.executable, "-c", PROBE.format(heavy=HEAVY)]
    return subprocess.run(probe, cwd=toy.root, capture_output=True, text=True, check=True).stdout.splitlines()[-1]


def test_cached_run_imports_nothing_heavy(toy: Toy) -> None:
    toy.run()
    assert imported_by_a_run(toy) == "0 []"


def test_run_that_works_imports_nothing_heavy_into_the_engine_either(toy: Toy) -> None:
    assert imported_by_a_run(toy) == "0 []"


def test_cached_run_starts_no_process(toy: Toy) -> None:
    toy.run()
    probe = "import subprocess; subprocess.Popen = None\nfrom kpipe.cli import invoke; raise SystemExit(invoke(['run']))"
    assert subprocess.run([sys.executable, "-c", probe], cwd=toy.root, capture_output=True).returncode == 0
