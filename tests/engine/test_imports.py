"""Every project file that a stage imports is in its key, or the stage is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kpipe.closure import Project
from tests.engine.conftest import Toy

ONE = """
[pipeline]
name = "toy"
[stages.fit]
run = "{run}"
"""
FIT = """
{imports}
def run(stage):
    (stage.out / "said").write_text(str({value}))
"""
Files = dict[str, str]
WAYS: dict[str, tuple[str, str, Files]] = {  # how a module is imported -> statements, what they give, the files it lies in
    "package named like a module of Python's": ("from code.hidden import X", "X", {"code/hidden.py": "X = 1\n"}),
    "its submodule": ("import code.hidden", "code.hidden.X", {"code/hidden.py": "X = 1\n"}),
    "package in __all__": (
        "from lib import *",
        "sub.X",
        {"lib/__init__.py": "__all__ = ['sub']\n", "lib/sub/__init__.py": "X = 1\n"},
    ),
    "private module in __all__": (
        "from lib import *",
        "_sub.X",
        {"lib/__init__.py": "__all__ = ['_sub']\n", "lib/_sub.py": "X = 1\n"},
    ),
    "module whose text is read as well": (
        "from stages.hidden import X",
        "stage.resource('hidden.py').read_text() + str(X)",
        {"stages/hidden.py": "'''doc'''\nX = 1\n"},
    ),
    "folder on Python's path": ("from hidden import X", "X", {"src/hidden.py": "X = 1\n"}),
    "package on Python's path": (
        "import pack.hidden",
        "pack.hidden.X",
        {"src/pack/__init__.py": "", "src/pack/hidden.py": "X = 1\n"},
    ),
}


def project(toy: Toy, imports: str, value: str, files: Files, run: str = "stages.fit") -> None:
    toy.write("pipeline.toml", ONE.format(run=run))
    toy.write(run.replace(".", "/") + ".py", FIT.format(imports=imports, value=value))
    for name, text in files.items():
        toy.write(name, text)
    toy.environment["PYTHONPATH"] = f"{Path(__file__).parents[2]}:{toy.root / 'src'}"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("run", ["stages.fit", "code.fit"])
def test_change_of_an_imported_module_is_seen(toy: Toy, way: str, run: str) -> None:
    imports, value, files = WAYS[way]
    if run == "code.fit" and "resource" in value:
        pytest.skip("a resource stands beside its module")
    project(toy, imports, value, files, run)
    assert toy.ran() == {"fit"}
    assert toy.ran() == set()
    changed = list(files)[-1]
    toy.edit(changed, "X = 1", "X = 2")
    assert toy.ran() == {"fit"}
    if "resource" in value:
        toy.edit(changed, "doc", "other")
        assert toy.ran() == {"fit"}


@pytest.mark.parametrize(
    "imports",
    [
        "import sys\nsys.path.insert(0, 'hidden')\nimport odd",
        "import stages.helper as h\nimport pickle\npickle.loads(b'cstages.odd\\nX\\n.')",
        "try:\n    import pickle\n    pickle.loads(b'cstages.odd\\nX\\n.')\nexcept Exception:\n    pass",
    ],
    ids=["sys.path", "pickle", "pickle, whatever it raises"],
)
@pytest.mark.parametrize("when", ["at once", "while it runs"])
def test_stage_that_imports_what_its_key_cannot_name_is_refused(toy: Toy, imports: str, when: str) -> None:
    files = {"stages/odd.py": "X = 1\n", "hidden/odd.py": "X = 1\n"}
    project(toy, "" if when == "while it runs" else imports.replace("'hidden'", repr(str(toy.root / "hidden"))), "1", files)
    if when == "while it runs":
        inside = imports.replace("'hidden'", repr(str(toy.root / "hidden"))).replace("\n", "\n    ")
        toy.edit("stages/fit.py", "def run(stage):\n", f"def run(stage):\n    {inside}\n")
    result = toy.kpipe("run")
    assert result.code == 1
    assert "odd.py, which no import statement of its code names" in result.err
    assert "Traceback" not in result.err
    assert list((toy.root / ".kpipe" / "records").iterdir()) == []


@pytest.mark.parametrize(
    ("imports", "call"),
    [
        ("import importlib as il", "il.import_module('stages.odd')"),
        ("from importlib import import_module as load", "load('stages.odd')"),
        ("import importlib.util as u", "u.spec_from_file_location('odd', 'stages/odd.py')"),
        ("from importlib import util", "util.spec_from_file_location('odd', 'stages/odd.py')"),
        ("import pkgutil", "pkgutil.resolve_name('stages.odd:X')"),
        ("from runpy import run_module", "run_module('stages.odd')"),
        ("import runpy", "runpy.run_path('stages/odd.py')"),
        ("import builtins", "builtins.exec('X = 1')"),
    ],
)
def test_computed_import_is_refused_before_it_runs_under_any_name(toy: Toy, imports: str, call: str) -> None:
    project(toy, imports, call, {})
    result = toy.kpipe("run")
    assert result.code == 2
    assert f"computed import or code: {call.partition('(')[0]}(...)" in result.err


def test_library_that_lies_in_the_project_is_none_of_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = ["env/lib/python3/site-packages", "env/lib/python3", "src"]
    monkeypatch.setattr("kpipe.places.LIBRARIES", [tmp_path / "env/lib/python3"])
    monkeypatch.setattr(sys, "path", ["", *(str(tmp_path / place) for place in places)])
    for number, place in enumerate(places):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / f"lib{number}.py").touch()
    (tmp_path / "fit.py").write_text("import lib0, lib1, lib2\n")
    closure = Project(tmp_path).closure("fit")
    assert (set(closure.code), closure.imports) == ({"fit.py", "src/lib2.py"}, frozenset({"lib0", "lib1"}))


def test_environment_and_engine_in_a_projects_folder_are_imported_as_anywhere(toy: Toy) -> None:
    """As of this very repository, and of an environment that conda made in the project: their modules are not in the key."""
    libraries = "import kpipe.places as c, pathlib\nc.LIBRARIES.append(pathlib.Path(__file__).parents[1] / 'env')\n"
    project(toy, f"{libraries}import sys\nsys.path.append(str(c.LIBRARIES[-1]))\nimport odd", "odd.X", {"env/odd.py": "X = 1\n"})
    assert toy.ran() == {"fit"}


def test_project_below_a_folder_that_is_named_like_pythons_own_is_read_anew(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "old-site-packages" / "site-packages" / "project")
    project(toy, "import sys", "[type(m.__loader__).__name__ for n, m in sys.modules.items() if n == __name__]", {})
    assert toy.ran() == {"fit"}
    [said] = (toy.root / ".kpipe" / "objects").glob("*/said")
    assert said.read_text() == "['ProjectLoader']"
