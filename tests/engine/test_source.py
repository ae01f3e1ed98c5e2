"""Facts of source files, and how long they are believed."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import kpipe
from kpipe.closure import Project
from kpipe.errors import ConfigError
from kpipe.imports import compiled
from kpipe.parsed import dump
from kpipe.source import definitions, read_tree
from kpipe.statcache import stamp
from kpipe.store import Store


@pytest.mark.parametrize("changed", ["kpipe.store.python_minor", "kpipe.store.FACTS"])
def test_facts_kept_by_another_python_or_kpipe_are_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """Another Python dumps another tree: its digests would never equal those of what a worker imports."""
    monkeypatch.setattr("kpipe.statcache.RECENT_NS", -1_000_000_000)
    (tmp_path / "code.py").write_text("X = 1\n")

    def kept() -> object:
        return Store(tmp_path / "store").sources.get(str(tmp_path / "code.py"), stamp((tmp_path / "code.py").stat()))

    store = Store(tmp_path / "store")
    Project(tmp_path, store.sources).closure("code")
    store.save_caches()
    assert kept() is not None
    monkeypatch.setattr(changed, (lambda: "3.99") if changed.endswith("minor") else 99)
    assert kept() is None


def meaning(text: str) -> dict[str, str]:
    return definitions(ast.parse(text))


BASE = "import a\nX = 1\ndef f():\n    return X\nclass C:\n    y = 2\nprint(X)\n"


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("import a\n", "import b\n", {"imports"}),
        ("X = 1", "X = 2", {"X"}),
        ("return X", "return -X", {"f"}),
        ("y = 2", "y = 3", {"C"}),
        ("print(X)", "print(f)", {"module-level code"}),
        ("print(X)\n", "print(X)\nX = 3\n", {"X", "order of definitions"}),
        ("print(X)\n", "", {"module-level code", "order of definitions"}),
        ("import a\nX = 1\n", "X = 1\nimport a\n", {"order of definitions"}),
    ],
)
def test_change_is_seen_under_the_name_of_what_changed(old: str, new: str, names: set[str]) -> None:
    before, after = meaning(BASE), meaning(BASE.replace(old, new))
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == names


def test_folder_without_init_beside_the_pipeline_is_the_projects(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.py").write_text("from parts import two\nimport numpy\n")
    (tmp_path / "parts" / "two.py").write_text("Y = 1\n")
    closure = Project(tmp_path).closure("parts.one")
    assert (set(closure.code), closure.imports) == ({"parts/one.py", "parts/two.py"}, frozenset({"numpy"}))


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="its ast.dump writes no empty lists")
def test_code_is_dumped_as_python_itself_does() -> None:
    for path in Path(kpipe.__file__).parents[1].joinpath("kpipe").rglob("*.py"):
        tree = ast.parse(path.read_bytes())
        assert dump(tree) == ast.dump(tree), path
    odd = ast.parse(
        "match x:\n  case None | {'a': [1, *_], **b}: ...\nf'{x!r:>{y}}', b'', u'', 1j, ..., -1, (), [], {}, {1, *a}\n"
    )
    assert dump(odd) == ast.dump(odd)


DEEP = {
    "a sum": "X = " + " + ".join(["'a'"] * 2000),
    "an elif chain": "X = 1\nif X == 0: ...\n" + "".join(f"elif X == {i}: ...\n" for i in range(2000)),
    "a chain of calls": "X = 'a'" + ".lower()" * 900,
    "a number": f"X = 0x1{'0' * 4000}",
    "signs": f"X = {'-' * 2000}1",
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_deep_code_that_python_imports_is_digested_and_imported(tmp_path: Path, text: str) -> None:
    (tmp_path / "code.py").write_text(text)
    closure = Project(tmp_path).closure("code")
    code, loaded = compiled(str(tmp_path / "code.py"), text.encode())
    namespace: dict[str, object] = {}
    exec(code, namespace)
    assert namespace["X"] and closure.code == {"code.py": loaded}
    (tmp_path / "code.py").write_text(text.replace("X = ", "X = 0, "))
    assert Project(tmp_path).closure("code").code["code.py"]["X"] != loaded["X"]


@pytest.mark.parametrize(
    ("text", "says", "line", "column"),
    [
        (f"X = {'-' * 10_000}1", "its code is nested too deep for Python", 1, 1),
        (f"X = {' + '.join(['1'] * 10_000)}", "its code is nested too deep for Python", 1, 1),
        (f"def run(stage, *, a: {' | '.join(['int'] * 1500)}): ...", "its annotation is nested too deep", 1, 22),
        (f"class A(TypedDict):\n  a: {' | '.join(['int'] * 1500)}\n", "its annotation is nested too deep", 2, 6),
        ("def run(stage, *, x: int = 1, x: int = 2): ...", "duplicate argument 'x' in function definition", 1, 31),
        ("X = 1\nreturn", "'return' outside function", 2, 1),
        ("# coding: nonsense\nX = 1", "unknown encoding: nonsense", 1, 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_code_that_python_cannot_import_is_a_mistake_with_its_place(
    tmp_path: Path, text: str, says: str, line: int, column: int
) -> None:
    (tmp_path / "code.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        Project(tmp_path).facts("code")
    (problem,) = caught.value.problems
    assert (problem.message, problem.line, problem.column) == (says, line, column)


@pytest.mark.filterwarnings("error")
def test_a_warning_about_code_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("X = 1 is 1\n")
    assert Project(tmp_path).facts("code")["definitions"]


def test_the_last_of_several_definitions_counts_as_python_takes_it() -> None:
    one, two = "def run(stage, *, a: int = 1): ...\n", "def run(stage, *, b: str): ...\n"
    found = read_tree(ast.parse(one + two))["run"]
    assert found is not None and [row["name"] for row in found] == ["b"]
    for other in ("async def run(stage): ...\n", "class run: ...\n"):
        assert read_tree(ast.parse(one + other))["run"] is None
        assert read_tree(ast.parse(other + one))["run"] is not None
    fields = read_tree(ast.parse("class T(TypedDict):\n  a: int\n  b: int\n  a: str\n"))["tables"]["T"]
    assert [(row["name"], row["annotation"]) for row in fields] == [("a", "str"), ("b", "int")]
