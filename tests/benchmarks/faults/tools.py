"""The tools that are measured: the files that declare the toy project to them, and the commands that their documentation names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.benchmarks.faults import declarations as toy


@dataclass(frozen=True)
class Tool:
    """One of them. A command is what follows the program's name."""

    name: str
    title: str
    declaration: tuple[str, str]  # file, text
    code: str  # folder of the stages' Python
    modules: Mapping[str, str]  # of it -> text
    join: str  # the module of the stage `join`
    package: str  # what stands before a module's name where it is imported
    page: str  # where a person reads the result
    run: tuple[str, ...]
    cache: tuple[str, ...] = ()  # added where results are kept in a cache only if that is asked for
    helper: tuple[str, str, str] | None = None  # to declare it by hand: file, old, new
    strict: tuple[str, ...] = ()  # the run that believes no time stamp
    restore: tuple[str, ...] = ()  # brings the last good results back
    asks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # an option it asks a person for -> the command


KPIPE = Tool(
    "kpipe",
    "kpipe",
    ("pipeline.toml", toy.KPIPE),
    "stages",
    {"__init__": "", "join": toy.KPIPE_JOIN, "report": toy.KPIPE_REPORT, **toy.SHARED},
    "join",
    "stages.",
    "reports/toy-tensorflow.html",
    ("run",),
    strict=("run", "--verify"),
)
DVC = Tool(
    "dvc",
    "DVC",
    ("dvc.yaml", toy.DVC),
    "src",
    {"join": toy.DVC_JOIN, "report": toy.DVC_REPORT, **toy.SHARED},
    "join",
    "",
    "out/report.html",
    ("repro",),
    helper=("dvc.yaml", "- src/join.py", "- src/join.py\n    - src/words.py"),
    restore=("checkout", "--force"),
)
SNAKEMAKE = Tool(
    "snakemake",
    "Snakemake",
    ("Snakefile", toy.SNAKEMAKE),
    "scripts",
    {"join": toy.SNAKEMAKE_JOIN, "report": toy.SNAKEMAKE_REPORT, **toy.SHARED},
    "join",
    "",
    "out/report.html",
    ("--cores", "1"),
    cache=("--cache",),
    helper=("Snakefile", "first=", 'helper="scripts/words.py", first='),
    asks={"--unlock": ("--unlock",), "--rerun-incomplete": ("--cores", "1", "--rerun-incomplete")},
)
PYTASK = Tool(
    "pytask",
    "pytask",
    ("pyproject.toml", toy.PYTASK),
    "src/toy",
    {"__init__": "", "config": toy.PYTASK_CONFIG, "task_join": toy.PYTASK_JOIN, "task_report": toy.PYTASK_REPORT, **toy.SHARED},
    "task_join",
    "toy.",
    "out/report.html",
    (),
    helper=("src/toy/task_join.py", "task_join(\n", 'task_join(\n    helper: Path = Path(__file__).parent / "words.py",\n'),
)
PEERS = (DVC, SNAKEMAKE, PYTASK)
TOOLS = (KPIPE, *PEERS)
