"""One toy project, declared for every tool as its documentation tells a careful user to.

Stage `join` puts the words of two files together, with a helper module; stage `report` makes the page that a person reads.
DVC: the command's script and data files as `deps`, the result as `outs`. Snakemake: `script:`, which it follows by itself, with
named inputs, and `cache: True`. pytask: paths as arguments, products annotated, the modules installed as a package. kpipe: a
`File` parameter for each input. The helper is imported, and declared to none: that a person forgets one is a fault that is
measured; so is what each makes of it when it is declared.
"""

from __future__ import annotations

import sys

SHARED = {  # what is done, whoever calls it; `probe` is how the measurement meets a stage in its work
    "words": '''"""Words."""


def joined(first: str, second: str) -> str:
    return f"{first} before {second}"
''',
    "probe": '''"""Writes a result as a real stage does: not at once. And says so, waits or fails where it is told to."""

import os
import time
from pathlib import Path


def write(stage: str, out: Path, text: str) -> None:
    told = Path(os.environ["FAULTS"])
    with (told / "ran").open("a") as file:
        file.write(stage + "\\n")
    out.write_text(text[: len(text) // 2])
    if (told / f"fail-{stage}").exists():
        raise RuntimeError("it is told to fail")
    while (told / f"hold-{stage}").exists():
        draft = told / f"draft-{os.getpid()}"
        draft.write_text(str(os.getpid()))
        draft.replace(told / "waits")
        time.sleep(0.02)
    out.write_text(text)
''',
}

DVC_JOIN = '''"""Joins the words of two files."""

import sys
from pathlib import Path

from probe import write
from words import joined

first, second, out = map(Path, sys.argv[1:])
write("join", out, joined(first.read_text().strip(), second.read_text().strip()))
'''

DVC_REPORT = '''"""Makes the page."""

import sys
from pathlib import Path

from probe import write

source, out = map(Path, sys.argv[1:])
write("report", out, f"<p>{source.read_text()}</p>")
'''

DVC = f"""stages:
  join:
    cmd: {sys.executable} src/join.py data/first.txt data/second.txt out/join.txt
    deps:
    - src/join.py
    - data/first.txt
    - data/second.txt
    outs:
    - out/join.txt
  report:
    cmd: {sys.executable} src/report.py out/join.txt out/report.html
    deps:
    - src/report.py
    - out/join.txt
    outs:
    - out/report.html
"""

SNAKEMAKE_JOIN = '''"""Joins the words of two files."""

from pathlib import Path

from probe import write
from words import joined

first, second = Path(snakemake.input.first), Path(snakemake.input.second)
write("join", Path(snakemake.output[0]), joined(first.read_text().strip(), second.read_text().strip()))
'''

SNAKEMAKE_REPORT = '''"""Makes the page."""

from pathlib import Path

from probe import write

write("report", Path(snakemake.output[0]), f"<p>{Path(snakemake.input[0]).read_text()}</p>")
'''

SNAKEMAKE = """rule report:
    input: "out/join.txt"
    output: "out/report.html"
    cache: True
    script: "scripts/report.py"


rule join:
    input: first="data/first.txt", second="data/second.txt"
    output: "out/join.txt"
    cache: True
    script: "scripts/join.py"
"""

PYTASK_JOIN = '''"""Joins the words of two files."""

from pathlib import Path
from typing import Annotated

from pytask import Product
from toy.config import DATA, OUT
from toy.probe import write
from toy.words import joined


def task_join(
    first: Path = DATA / "first.txt",
    second: Path = DATA / "second.txt",
    out: Annotated[Path, Product] = OUT / "join.txt",
) -> None:
    write("join", out, joined(first.read_text().strip(), second.read_text().strip()))
'''

PYTASK_REPORT = '''"""Makes the page."""

from pathlib import Path
from typing import Annotated

from pytask import Product
from toy.config import OUT
from toy.probe import write


def task_report(source: Path = OUT / "join.txt", out: Annotated[Path, Product] = OUT / "report.html") -> None:
    write("report", out, f"<p>{source.read_text()}</p>")
'''

PYTASK_CONFIG = '''"""Where things are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA, OUT = ROOT / "data", ROOT / "out"
'''

PYTASK = """[tool.pytask.ini_options]
paths = ["src"]
"""

KPIPE_JOIN = '''"""Joins the words of two files."""

from kpipe.stage import File, Stage
from stages.probe import write
from stages.words import joined


def run(stage: Stage, *, first: File, second: File) -> None:
    write("join", stage.out / "join.txt", joined(first.read_text().strip(), second.read_text().strip()))
'''

KPIPE_REPORT = '''"""Makes the page."""

from kpipe.stage import Stage
from stages.probe import write


def run(stage: Stage) -> None:
    source = stage.branches[0].inputs["join"] / "join.txt"
    write("report", stage.out / "report.html", f"<p>{source.read_text()}</p>")
'''

KPIPE = """[pipeline]
name = "toy"

[stages.join]
run = "stages.join"
[stages.join.params]
first  = "data/first.txt"
second = "data/second.txt"

[stages.report]
run    = "stages.report"
needs  = ["join"]
gather = true
"""
