"""Every kind of reason as `kpipe explain` says it, held against golden/explain.txt."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.engine.conftest import Toy

GOLDEN = Path(__file__).parent / "golden" / "explain.txt"
VERSIONS = {"keras": "3.15.0", "tensorflow": "2.20.0", "jax": "0.8.0", "jaxlib": "0.8.0", "numpy": "2.1.0"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A toy, its fit on keras and numpy of known versions, run once."""
    toy = Toy(tmp_path_factory.mktemp("explain") / "project")
    toy.edit("stages/fit.py", "def run", "def unused() -> None:\n    import keras\n    import numpy\n\ndef run")
    install(toy, **VERSIONS)
    surround(toy)
    toy.run()
    return toy


@pytest.fixture
def learned(template: Toy, tmp_path: Path) -> Toy:
    """A copy of the toy that has run."""
    toy = template.copy(tmp_path / "project")
    surround(toy)
    return toy


def surround(toy: Toy) -> None:
    """Let the toy see the distributions and the Keras settings in its own folder."""
    toy.environment["PYTHONPATH"] = str(toy.root / "site")
    toy.environment["KERAS_HOME"] = str(toy.root / "keras")


def install(toy: Toy, **versions: str) -> None:
    """Let Python see other distributions than there are."""
    for name, version in versions.items():
        for old in (toy.root / "site").glob(f"{name}-*"):
            (old / "METADATA").unlink()
            old.rmdir()
        toy.write(f"site/{name}-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def damage(toy: Toy) -> None:
    (found,) = (toy.root / ".kpipe" / "objects").glob("*/words.txt")
    found.chmod(0o644)
    found.write_text("x")


def rerun_upstream(toy: Toy) -> None:
    toy.write("data/3.txt", "three")
    toy.run("--until", "load")


CHANGES = {  # what is done -> (how, what is explained, options)
    "nothing": (lambda toy: None, "fit[a]", []),
    "a parameter is set": (lambda toy: None, "fit[a]", ["--set", "stages.fit.params.epochs=9"]),
    "a parameter falls back to its default": (lambda toy: toy.edit("pipeline.toml", "epochs = 8\n", ""), "fit[a]", []),
    "run has a new parameter": (lambda toy: toy.edit("stages/fit.py", "epochs: int = 1", "epochs: int = 1, note: str = 'x y'"), "fit[a]", []),
    "a field of an axis value": (lambda toy: toy.edit("pipeline.toml", "rate = 0.5", "rate = 0.25"), "fit[a]", []),
    "an input file": (lambda toy: toy.write("data/1.txt", "another"), "load", []),
    "what waits for it": (lambda toy: toy.write("data/1.txt", "another"), "fit[a]", []),
    "an upstream stage gave something else": (rerun_upstream, "fit[a]", []),
    "a helper": (lambda toy: toy.edit("stages/helper.py", "x * FACTOR", "FACTOR * x"), "fit[a]", []),
    "a helper's helper": (lambda toy: toy.edit("stages/deep.py", "10", "11"), "fit[a]", []),
    "a new function": (lambda toy: toy.edit("stages/helper.py", "def scale", "def other() -> None: ...\n\ndef scale"), "fit[a]", []),
    "a new file": (lambda toy: (toy.write("stages/more.py", "X = 1\n"), toy.edit("stages/helper.py", "from stages.deep", "from stages import more\nfrom stages.deep")), "fit[a]", []),
    "a resource": (lambda toy: toy.write("stages/title.txt", "Other"), "report", []),
    "a branch less": (lambda toy: toy.edit("pipeline.toml", ', { name = "b", rate = 2 }', ""), "report", []),
    "a branch more": (lambda toy: toy.edit("pipeline.toml", 'rate = 2 }', 'rate = 2 }, { name = "c", rate = 0.5 }'), "report", []),
    "keras upgraded": (lambda toy: install(toy, keras="3.16.0"), "fit[a]", []),
    "numpy upgraded": (lambda toy: install(toy, numpy="2.2.0"), "fit[a]", []),
    "the other backend": (lambda toy: toy.environment.update(KERAS_BACKEND="jax"), "fit[a]", []),
    "keras.json": (lambda toy: toy.write("keras/keras.json", json.dumps({"floatx": "float16"})), "fit[a]", []),
    "a damaged artifact": (damage, "load", []),
    "its record removed": (lambda toy: [p.unlink() for p in (toy.root / ".kpipe" / "records").iterdir()], "load", []),
    "several at once": (
        lambda toy: (toy.edit("stages/deep.py", "10", "11"), toy.edit("pipeline.toml", "rate = 0.5", "rate = 0.25"), install(toy, keras="3.16.0")),
        "fit[a]",
        ["--set", "stages.fit.params.epochs=9"],
    ),
}  # fmt: skip


def expected() -> dict[str, str]:
    """The golden file: "# what is done", and what is said of it."""
    parts = GOLDEN.read_text().split("# ")[1:] if GOLDEN.exists() else []
    return dict(part.split("\n", 1) for part in parts)


@pytest.mark.parametrize("change", CHANGES)
def test_reason_is_the_golden_one(learned: Toy, change: str) -> None:
    how, stage, options = CHANGES[change]
    how(learned)
    said = learned.kpipe("explain", stage, *options)
    assert said.code == 0, said.err
    if os.environ.get("KPIPE_UPDATE_GOLDEN"):
        texts = expected() | {change: said.out + "\n"}
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text("".join(f"# {name}\n{texts[name]}" for name in CHANGES if name in texts))
    assert said.out + "\n" == expected()[change]
    told = learned.kpipe("explain", stage, *options, "--json").json
    lines = [line.strip() for line in said.out.splitlines()[1:]]
    assert len(told[0]["reasons"]) == len(lines)
    assert {r["kind"] for r in told[0]["reasons"]} <= {
        "new", "parameter", "file", "input", "branch", "code", "package", "python", "backend", "stage", "schema", "forced", "damaged",
    }  # fmt: skip


def test_golden_file_has_no_stale_entry() -> None:
    assert list(expected()) == list(CHANGES)
