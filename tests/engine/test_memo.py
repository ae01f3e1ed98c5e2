"""stage.memo: reused across keys, atomic, verified, one filler at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kpipe.closure import Closure
from kpipe.errors import OtherCode
from kpipe.memo import Memo, open_memo
from kpipe.stage import Stage, StageError
from tests.engine.conftest import Toy
from tests.engine.test_running import wait_for

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
    return open_memo(tmp_path / "store", "m", {"n": 1}, Closure({"a.py": {}}), None)


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
from kpipe.closure import Closure
from kpipe.memo import open_memo
root = Path(sys.argv[1])
with open_memo(root / "store", "m", {"n": 1}, Closure({"a.py": {}}), None) as memo:
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


@pytest.mark.parametrize("name", ["strange", "folder/strange", "empty/strange", "other/strange"])
def test_file_that_was_not_stored_with_a_part_is_set_aside_alone(tmp_path: Path, name: str) -> None:
    with open_here(tmp_path) as memo, memo.new_part() as folder:
        (folder / "folder").mkdir()
        (folder / "folder" / "a").write_text("a")
        (folder / "empty").mkdir()
    [part] = memo.parts
    (part / name).parent.mkdir(exist_ok=True)
    (part / name).touch()
    with open_here(tmp_path) as memo:
        assert (memo.parts, memo.quarantined) == ([part], [])
    assert {path.name for path in part.iterdir()} == {"folder", "empty"} and list(part.rglob("strange")) == []


def test_link_in_a_part_is_refused_and_its_target_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").touch(0o644)
    with pytest.raises(ValueError, match="holds link, which is no file"), open_here(tmp_path) as memo, memo.new_part() as folder:
        (folder / "link").symlink_to(tmp_path / "mine")
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o644


def test_file_that_is_edited_while_a_part_is_made_of_it_is_not_stored(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    content = {"files": [tmp_path / "x"]}
    with (
        pytest.raises(OtherCode, match="changed while it ran"),
        open_memo(tmp_path / "store", "m", content, Closure({"a.py": {}}), None) as memo,
        memo.new_part() as folder,
    ):
        (folder / "n").write_text((tmp_path / "x").read_text())
        (tmp_path / "x").write_text("2")
    (tmp_path / "x").write_text("1")
    with open_memo(tmp_path / "store", "m", content, Closure({"a.py": {}}), None) as memo:
        assert memo.parts == []


FILL = """
def run(stage, *, source: str = ""):
    {wait}
    with stage.memo("numbers") as memo:
        if not memo.parts:
            with memo.new_part() as folder:
                (folder / "n.txt").write_text("{text}")
        (stage.out / "words.txt").write_text((memo.parts[0] / "n.txt").read_text())
"""


def words(toy: Toy) -> str:
    result = toy.kpipe("run", "--until", "load", "--json")
    assert result.code == 0, result.err
    return (toy.root / ".kpipe" / "objects" / result.json["instances"][0]["output"] / "words.txt").read_text()


@pytest.mark.parametrize("where", ["folder", "file"])
def test_code_behind_a_link_counts(toy: Toy, tmp_path: Path, where: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (toy.root / "stages").rename(elsewhere)
    if where == "folder":
        (toy.root / "stages").symlink_to(elsewhere)
    else:
        (toy.root / "stages").mkdir()
        for path in elsewhere.iterdir():
            (toy.root / "stages" / path.name).symlink_to(path)
    for text in ("one", "two"):
        (elsewhere / "load.py").write_text(FILL.format(wait="pass", text=text))
        assert words(toy) == text


def test_code_behind_a_link_counts_for_a_stage_that_is_called_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "memo_linked.py").symlink_to(tmp_path / "elsewhere.py")
    monkeypatch.syspath_prepend(tmp_path / "project")
    for text in ("1", "2"):
        (tmp_path / "elsewhere.py").write_text(CALLER.replace('"1"', f'"{text}"') + f"X = {text} * 10\n" * int(text))
        sys.modules.pop("memo_linked", None)
        import memo_linked  # type: ignore[import-not-found]

        fresh, part = memo_linked.use(Stage(out=tmp_path / text, store=tmp_path / "store"))
        assert fresh and (part / "n.txt").read_text() == text


def test_memo_opened_by_an_exit_stack_is_that_of_the_stages_code(toy: Toy) -> None:
    for text in ("one", "two"):
        fill = FILL.format(wait="from contextlib import ExitStack", text=text)
        toy.write(
            "stages/load.py",
            fill.replace("with stage.memo(", "with ExitStack() as stack, stack.enter_context(stage.memo(").replace(
                ") as memo", ")) as memo"
            ),
        )
        toy.edit(
            "stages/load.py",
            'with ExitStack() as stack, stack.enter_context(stage.memo("numbers")) as memo:',
            'with ExitStack() as stack:\n        memo = stack.enter_context(stage.memo("numbers"))',
        )
        assert words(toy) == text


def test_code_edited_before_a_memo_is_opened_leaves_nothing_under_the_new_codes_key(toy: Toy) -> None:
    sleep = f"import time; open('{toy.root}/started', 'w'); time.sleep(1)"
    toy.write("stages/load.py", FILL.format(wait=sleep, text="old"))
    process = toy.start("run", "--until", "load")
    wait_for(toy.root / "started")
    toy.edit("stages/load.py", "old", "new")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "changed while it ran: stages/load.py" in err
    assert list((toy.root / ".kpipe" / "memo").rglob("n.txt")) == []
    assert words(toy) == "new"


def test_memo_of_a_module_outside_the_project_is_refused(tmp_path: Path) -> None:
    stage = Stage(out=tmp_path / "out", root=tmp_path)
    with pytest.raises(StageError, match="which is no module of the project"), stage.memo("numbers"):
        pass
