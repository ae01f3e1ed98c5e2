"""Facts of source files, and how long they are believed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from kpipe.closure import Project
from kpipe.source import definitions
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
