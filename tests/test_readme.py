"""What the README shows is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kpipe.cli import parser
from tests.pictures import write_splits

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def plan(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "kpipe", "plan", *args], cwd=folder, capture_output=True, text=True)


def test_two_commands_of_one_line_do_all_set_up() -> None:
    run, test = blocks("sh")
    assert run.count("\n") == test.count("\n") == 1
    assert run.rstrip().endswith(".venv/bin/kpipe run pipeline.toml")
    assert test.rstrip().endswith(".venv/bin/python -m pytest")
    assert (
        test.strip()
        in subprocess.run(
            ["grep", "-m1", "-E", "^python3 -m venv .*pytest", "README.md"], cwd=ROOT, capture_output=True, text=True
        ).stdout
    )


WHOLE, *PARTS = blocks("toml")


def with_part(part: str) -> str:
    """The pipeline shown, with another text of one of its tables."""
    name = part.splitlines()[0]
    assert WHOLE.count(f"{name}\n") == 1
    return re.sub(rf"^{re.escape(name)}\n(?:(?!\[).*\n)*", lambda _: part + "\n", WHOLE, flags=re.MULTILINE)


@pytest.mark.parametrize("text", [WHOLE, *map(with_part, PARTS)])
def test_pipeline_shown_is_valid(tmp_path: Path, text: str) -> None:
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    write_splits(tmp_path / "photos", counts={"train": 1, "validation": 1, "test": 1})
    (tmp_path / "photos.csv").write_text("path,label\n")
    (tmp_path / "pipeline.toml").write_text(text)
    done = plan(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_plan_shown_names_the_instances_of_the_sample(tmp_path: Path) -> None:
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    (tmp_path / "pipeline.toml").write_text((ROOT / "pipeline.toml").read_text())
    shown = README.split("$ kpipe plan --set stages.train.params.epochs=9\n")[1].split("```")[0]
    printed = plan(tmp_path, "--set", "stages.train.params.epochs=9").stdout
    assert [line.split()[0] for line in shown.splitlines()] == [line.split()[0] for line in printed.splitlines()]


def test_every_command_is_in_the_table() -> None:
    shown = set(re.findall(r"^\| `kpipe (\w+)", README, re.MULTILINE))
    commands = next(action.choices for action in parser()._actions if action.choices)
    assert shown == set(commands)
