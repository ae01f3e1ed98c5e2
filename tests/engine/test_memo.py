"""stage.memo: reused across keys, atomic, verified, one filler at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kpipe.memo import Memo, open_memo
from kpipe.stage import Stage

CALLER = """
def use(stage, **content):
    with stage.memo("numbers", **content) as memo:
        fresh = not memo.parts
        if fresh:
            with memo.new_part() as folder:
                (folder / "n.txt").write_text("1")
        return fresh, memo.parts[0]
"""


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "memo_caller.py").write_text(CALLER)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("memo_caller", None)
    import memo_caller  # type: ignore[import-not-found]

    def call(out: str, **content: object) -> tuple[bool, Path]:
        return memo_caller.use(Stage(out=tmp_path / out / "out", store=tmp_path / "store"), **content)

    return call


def test_second_stage_with_the_same_content_reuses_it(use) -> None:
    assert use("a", n=1)[0] is True
    assert use("b", n=1)[0] is False
    assert use("c", n=2)[0] is True


def test_content_of_a_path_counts_not_its_name(use, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    (tmp_path / "y").write_text("1")
    assert use("a", file=tmp_path / "x")[0] is True
    assert use("b", file=tmp_path / "y")[0] is False
    (tmp_path / "y").write_text("2")
    assert use("c", file=tmp_path / "y")[0] is True


def test_edited_caller_does_not_reuse(use, tmp_path: Path) -> None:
    use("a", n=1)
    (tmp_path / "memo_caller.py").write_text(CALLER.replace('"1"', '"2"'))
    assert use("b", n=1)[0] is True


def test_damaged_part_is_set_aside_and_made_again(use, tmp_path: Path) -> None:
    _, part = use("a", n=1)
    (part / "n.txt").chmod(0o644)
    (part / "n.txt").write_text("2")
    fresh, again = use("b", n=1)
    assert fresh and (again / "n.txt").read_text() == "1"


def open_here(tmp_path: Path):
    return open_memo(tmp_path / "store", "m", {"n": 1}, "nothing", tmp_path, None)


def test_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), open_here(tmp_path) as memo, memo.new_part() as folder:
        (folder / "half").write_text("half")
        raise RuntimeError
    with open_here(tmp_path) as memo:
        assert memo.parts == []
    assert list((tmp_path / "store").rglob("half")) == []


def test_parts_accumulate(tmp_path: Path) -> None:
    for n in range(3):
        with open_here(tmp_path) as memo:
            assert len(memo.parts) == n
            with memo.new_part() as folder:
                (folder / "a").write_text(str(n))
    with open_here(tmp_path) as memo:
        assert isinstance(memo, Memo)
        assert [(p / "a").read_text() for p in memo.parts] == ["0", "1", "2"]


RACE = """
import sys, time
from pathlib import Path
from kpipe.memo import open_memo
root = Path(sys.argv[1])
with open_memo(root / "store", "m", {"n": 1}, "nothing", root, None) as memo:
    if not memo.parts:
        with memo.new_part() as folder:
            time.sleep(0.3)
            (folder / "a").write_text("x")
        print("filled")
"""


def test_of_eight_processes_one_fills_and_seven_wait(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", RACE, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    outputs = [p.communicate(timeout=60)[0] for p in processes]
    assert [p.returncode for p in processes] == [0] * 8
    assert sorted(outputs) == [""] * 7 + ["filled\n"]
