"""The structure that CONTRIBUTING.md describes, held by tests."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINE = sorted((ROOT / "kpipe").rglob("*.py"))
STAGES = sorted((ROOT / "stages").rglob("*.py"))
HEAVY = {"keras", "tensorflow", "jax", "numpy", "pandas", "matplotlib", "seaborn", "scipy", "sklearn", "PIL", "torch", "jinja2"}
LAYERS = [  # each may import only from the layers before it, or from its own without a circle
    {"errors", "files", "__init__"},
    {
        "statcache",
        "digest",
        "walk",
        "places",
        "folders",
        "identity",
        "host",
        "ranges",
        "contract",
        "parsed",
        "urls",
        "filesystem",
        "remote",
        "listing",
    },
    {"source", "signature", "needs", "tomlfile", "syntax", "units", "axes", "matrix", "key", "explain", "task", "positions"},
    {"values", "sealed", "session", "sources", "copies", "download"},
    {"references", "closure", "paths", "backends", "spec", "memo", "store"},
    {
        "parameters",
        "resolver",
        "stage",
        "imports",
        "afresh",
        "worker",
        "executors",
        "executors.environment",
        "executors.local",
        "executors.inline",
    },
    {"dag", "expand", "plan", "frontier", "slots"},
    {"outcome", "console"},
    {
        "branches",
        "dispatch",
        "commit",
        "history",
        "export",
        "gathered",
        "drawing",
        "progress",
        "metrics",
        "compare",
        "summary",
        "garbage",
        "verification",
    },
    {"engine", "tools"},
    {"pipeline"},
    {"notebook"},
    {
        "commands",
        "commands.prepare",
        "commands.run",
        "commands.plan",
        "commands.show",
        "commands.predict",
        "commands.doctor",
        "commands.init",
        "commands.history",
        "commands.report",
        "commands.upkeep",
    },
    {"arguments"},
    {"cli"},
    {"__main__"},
]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


def imported(path: Path, inside_functions: bool = True) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if inside_functions else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return found


def kpipe_imports(path: Path) -> set[str]:
    names = {module_name(p) for p in ENGINE}
    return {name.removeprefix("kpipe.") for name in imported(path) & names if name != "kpipe"}


@pytest.mark.parametrize("path", ENGINE, ids=module_name)
def test_engine_never_imports_the_science(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported(path)}
    allowed = {"pandas"} if path.stem == "notebook" else set()  # for the frame that a notebook asks for
    assert not tops & ((HEAVY | {"stages"}) - allowed)


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "kpipe" / f"{n}.py"
        for n in ("stage", "memo", "sealed", "closure", "source", "parsed", "contract", "digest", "statcache", "files")
    ],
    ids=lambda p: p.stem,
)
def test_door_is_standard_library_only(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported(path)}
    assert tops <= sys.stdlib_module_names | {"kpipe"}


@pytest.mark.parametrize("path", ENGINE, ids=module_name)
def test_engine_imports_follow_the_layers(path: Path) -> None:
    name = module_name(path).removeprefix("kpipe").lstrip(".") or "__init__"
    level = next(i for i, layer in enumerate(LAYERS) if name in layer)
    allowed = set().union(*LAYERS[: level + 1])
    assert kpipe_imports(path) <= allowed


def test_engine_has_no_import_circle() -> None:
    graph = {module_name(p).removeprefix("kpipe."): kpipe_imports(p) for p in ENGINE}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", STAGES, ids=module_name)
def test_stages_know_only_the_door_of_the_engine(path: Path) -> None:
    assert {n for n in imported(path) if n.split(".")[0] == "kpipe"} <= {"kpipe.stage"} | {
        n for n in imported(path) if n.startswith("kpipe.stage.")
    }


@pytest.mark.parametrize("path", ENGINE, ids=module_name)
def test_engine_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 190


@pytest.mark.parametrize("path", [*ENGINE, *STAGES], ids=module_name)
def test_functions_stay_small(path: Path) -> None:
    long = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name != "run":
            lines = (node.end_lineno or 0) - node.lineno + 1
            long += [f"{node.name} {lines}"] if lines > 45 else []
    assert long == []


def test_one_module_exits_one_prints_one_spawns() -> None:
    def calls(path: Path) -> set[str]:
        return {ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)}

    exits = {module_name(p) for p in ENGINE if "sys.exit" in calls(p)}
    prints = {module_name(p) for p in ENGINE if "print" in calls(p)}
    spawns = {module_name(p) for p in ENGINE if {"subprocess.Popen", "subprocess.run", "os.system", "os.fork"} & calls(p)}
    assert (exits, prints, spawns) == ({"kpipe.cli"}, {"kpipe.console"}, {"kpipe.executors.local"})


def test_no_torch_anywhere() -> None:
    text = (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints.txt").read_text()
    assert "torch" not in text
