"""Whole messages, as a person reads them.

A section of golden/*.txt is one mistake: what is edited in the toy project (-old and +new lines), the command line, and all
that stderr says. `GOLDEN=write pytest tests/engine/test_errors.py` writes down what is said now; then read `git diff`.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kpipe.cli import invoke
from kpipe.errors import Problem
from kpipe.needs import check_needs, find_cycle, topological
from tests.engine.conftest import Result, Toy

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.txt"))
SECTION = re.compile(r"^=== (?P<title>.*)\n(?P<edits>(?:(?![=$]).*\n)*)(?P<said>(?:(?!=== ).*\n)*)", re.M)
Kpipe = Callable[..., Result]


@pytest.fixture
def kpipe(toy: Toy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Kpipe:
    """kpipe in this process, which is quick, in the toy project."""
    monkeypatch.chdir(toy.root)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delenv("KPIPE_STORE", raising=False)

    def run(*words: str, **environment: str) -> Result:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            code = invoke(words)
        return Result(code, *capsys.readouterr())

    return run


def edited(toy: Toy, edits: str) -> None:
    """Replace -lines by the +lines below them; +lines alone are added at the end of the file."""
    for name, lines in re.findall(r"(?:^file: (.*)\n)?((?:^[-+].*\n)+)", edits, re.M):
        path = toy.root / (name or "pipeline.toml")
        text = path.read_text() if path.exists() else ""
        for old, new in re.findall(r"((?:^-.*\n)*)((?:^\+.*\n)*)", lines, re.M):
            old, new = (re.sub(r"^.", "", part, flags=re.M) for part in (old, new))
            assert not old or f"\n{text}".count(f"\n{old}") == 1, old
            text = f"\n{text}".replace(f"\n{old}", f"\n{new}")[1:] if old else text + new
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("file", "section"),
    [pytest.param(f, s["title"], id=f"{f.stem}: {s['title']}") for f in GOLDEN for s in SECTION.finditer(f.read_text())],
)
def test_message(toy: Toy, kpipe: Kpipe, file: Path, section: str) -> None:
    known = next(s for s in SECTION.finditer(file.read_text()) if s["title"] == section)
    edited(toy, known["edits"])
    said = ""
    for line in re.findall(r"^\$ (.*)$", known["said"], re.M):
        words = shlex.split(line)
        environment = dict(word.split("=") for word in words[: words.index("kpipe")])
        result = kpipe(*words[words.index("kpipe") + 1 :], **environment)
        assert (result.code, result.out) == (2, ""), result
        said += f"$ {line}\n{result.err}\n".replace(str(toy.root), "{root}")
    if os.environ.get("GOLDEN") == "write":
        file.write_text(file.read_text().replace(known[0], f"=== {section}\n{known['edits']}{said}"))
    else:
        assert said.rstrip("\n") == known["said"].rstrip("\n")


SEVERAL = """
[pipeline]
nam = "toy"
backend = "torch"

[matrix]
model = [{ name = "a", rate = 0.1 }, { name = "b", rat = 1 }, "a"]
include = [{ model = "c", extra = 1 }]

[stages.load]
run = "stages.laod"
[stages.load.params]
source = "data"

[stages.fit]
run = "stages.fit"
needs = ["load", "lod"]
[stages.fit.params]
rate = "${modl.rate}"
epohcs = 3

[stages.report]
run = "stages.report"
needs = ["report", "fit"]
gathr = true

[stages.one]
run = "stages.load"
needs = ["two"]
[stages.two]
run = "stages.load"
needs = ["one"]
"""

EXPECTED = """\
error: unknown key nam
  --> pipeline.toml:3:1
 3 | nam = "toy"
   | ^^^
  hint: did you mean name?
error: backend "torch": kpipe runs on tensorflow or jax
  --> pipeline.toml:4:11
 4 | backend = "torch"
   |           ^^^^^^^
error: axis model has the value "a" twice
  --> pipeline.toml:7:63
 7 | model = [{ name = "a", rate = 0.1 }, { name = "b", rat = 1 }, "a"]
   |                                                               ^^^
error: axis model has no value "c"
  --> pipeline.toml:8:22
 8 | include = [{ model = "c", extra = 1 }]
   |                      ^^^
  hint: values: "a", "b"
error: run = "stages.laod": there is no such module
  --> pipeline.toml:11:7
 11 | run = "stages.laod"
    |       ^^^^^^^^^^^^^
  hint: did you mean "stages.load"?
error: stage fit needs lod, which is no stage
  --> pipeline.toml:17:18
 17 | needs = ["load", "lod"]
    |                  ^^^^^
  hint: did you mean "load"?
error: ${modl.rate}: there is no axis modl
  --> pipeline.toml:19:8
 19 | rate = "${modl.rate}"
    |        ^^^^^^^^^^^^^^
  hint: did you mean ${model}?
error: stage fit has no parameter epohcs
  --> pipeline.toml:20:1
 20 | epohcs = 3
    | ^^^^^^
  hint: did you mean epochs?
error: stage report needs itself
  --> pipeline.toml:24:10
 24 | needs = ["report", "fit"]
    |          ^^^^^^^^
error: unknown key gathr
  --> pipeline.toml:25:1
 25 | gathr = true
    | ^^^^^
  hint: did you mean gather?
error: stage one needs the parameter source
  --> pipeline.toml:27:2
 27 | [stages.one]
    |  ^^^^^^^^^^
  hint: source = ...
error: stages need each other in a circle: one -> two -> one
  --> pipeline.toml:29:10
 29 | needs = ["two"]
    |          ^^^^^
error: stage two needs the parameter source
  --> pipeline.toml:30:2
 30 | [stages.two]
    |  ^^^^^^^^^^
  hint: source = ...
13 errors; nothing was run
"""


def test_all_mistakes_of_a_file_are_shown_at_once_in_its_order(toy: Toy) -> None:
    toy.write("pipeline.toml", SEVERAL)
    result = toy.kpipe("run")
    assert (result.code, result.out, result.err) == (2, "", EXPECTED)
    assert not (toy.root / ".kpipe" / "records").exists() or list((toy.root / ".kpipe" / "records").iterdir()) == []


def test_line_ends_of_windows_change_no_message(toy: Toy, kpipe: Kpipe) -> None:
    (toy.root / "pipeline.toml").write_bytes(SEVERAL.replace("\n", "\r\n").encode())
    assert kpipe("plan") == Result(2, "", EXPECTED)


def test_byte_order_mark_changes_no_message(toy: Toy, kpipe: Kpipe) -> None:
    text = 'pipeline.nam = "toy"\n' + (toy.root / "pipeline.toml").read_text().replace('[pipeline]\nname = "toy"\n', "")
    (toy.root / "pipeline.toml").write_text(text)
    without = kpipe("plan")
    (toy.root / "pipeline.toml").write_text(text, encoding="utf-8-sig")
    assert kpipe("plan") == without
    assert without.err.startswith("error: unknown key nam\n  --> pipeline.toml:1:10\n 1 | pipeline.nam")


def test_file_with_a_byte_order_mark_is_read(toy: Toy, kpipe: Kpipe) -> None:
    (toy.root / "pipeline.toml").write_text((toy.root / "pipeline.toml").read_text(), encoding="utf-8-sig")
    assert kpipe("plan").code == 0


def test_only_line_ends_of_toml_count_as_lines(toy: Toy, kpipe: Kpipe) -> None:
    toy.edit("pipeline.toml", "epochs = 8", '# a\u2028b\u0085c\nepochs = "8"')
    assert kpipe("plan") == Result(
        2,
        "",
        'error: epochs = "8" is not allowed\n  --> pipeline.toml:19:10\n 19 | epochs = "8"\n    |          ^^^\n'
        "  hint: allowed: a whole number\n",
    )


def test_file_that_is_not_utf_8_is_named_with_the_place(toy: Toy, kpipe: Kpipe) -> None:
    text = (toy.root / "pipeline.toml").read_text().replace("epochs = 8", "epochs = 8 # d\xe9j\xe0")
    (toy.root / "pipeline.toml").write_bytes(text.replace("\n", "\r\n").encode("latin-1"))
    assert kpipe("plan") == Result(
        2,
        "",
        "error: byte 0xe9 is not UTF-8\n  --> pipeline.toml:18:15\n 18 | epochs = 8 # d\ufffdj\ufffd\n    |               ^\n"
        "  hint: save the file as UTF-8\n",
    )


def test_file_in_utf_16_is_named(toy: Toy, kpipe: Kpipe) -> None:
    (toy.root / "pipeline.toml").write_text("[pipeline]", encoding="utf-16")
    result = kpipe("plan")
    assert result.code == 2
    assert result.err.startswith("error: byte 0xff is not UTF-8\n  --> pipeline.toml:1:1\n")


def test_control_character_is_named(toy: Toy, kpipe: Kpipe) -> None:
    toy.edit("pipeline.toml", '"toy"', '"to\x07y"')
    result = kpipe("plan")
    assert result.code == 2
    assert result.err.startswith("error: TOML does not allow this control character\n  --> pipeline.toml:3:11\n")


LARGEST = "  hint: from -9223372036854775808 to 9223372036854775807 (64 bits); a larger number is written as 1e20\n"


@pytest.mark.parametrize("number", ["8" * 5000, "1_0" * 3000, "-" + "9" * 400, f"0x{'f' * 4000}", "9223372036854775808"])
@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("epochs = 8", "epochs = NUMBER", "18:10"),
        ("rate = 2 }", "rate = NUMBER }", "6:59"),
        ("[stages.load.params]", "timeout = NUMBER\n[stages.load.params]", "10:11"),
        ("[pipeline]", "nam = [1, { a = NUMBER }]\n[pipeline]", "2:17"),
    ],
)
def test_whole_number_that_toml_does_not_have_is_named_with_its_place(
    toy: Toy, kpipe: Kpipe, old: str, new: str, place: str, number: str
) -> None:
    toy.edit("pipeline.toml", old, new.replace("NUMBER", number))
    result = kpipe("plan")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: this whole number is too large\n  --> pipeline.toml:{place}\n")
    assert result.err.endswith(LARGEST)


def test_whole_number_of_too_many_digits_in_a_list_that_is_not_closed_is_named(toy: Toy, kpipe: Kpipe) -> None:
    toy.edit("pipeline.toml", "epochs = 8", f"epochs = [[2, {'8' * 5000}")
    assert kpipe("plan").err.startswith("error: this whole number is too large\n  --> pipeline.toml:18:15\n")


def test_largest_whole_numbers_are_read(toy: Toy, kpipe: Kpipe) -> None:
    toy.edit("pipeline.toml", "epochs = 8", "epochs = 9223372036854775807")
    toy.edit("pipeline.toml", "rate = 2 }", "rate = -9223372036854775808 }")
    assert kpipe("plan").code == 0


@pytest.mark.parametrize("default", ["9" * 400, f"-{'9' * 400}", f"0x{'f' * 4000}", f"[1, {'9' * 400}]"])
def test_default_that_is_too_large_is_named_with_its_place(toy: Toy, kpipe: Kpipe, default: str) -> None:
    annotation = "list[float]" if default.startswith("[") else "float"
    toy.edit("stages/fit.py", "epochs: int = 1", f"epochs: int = 1, more: {annotation} = {default}")
    result = kpipe("plan")
    assert result.code == 2
    assert "the default of run's parameter more is a whole number that is too large: from -92233" in result.err
    assert "\n  --> stages/fit.py:6:" in result.err


@pytest.mark.parametrize("more", ["w = 2", "stages.load.params.source = 3", "[stages.load]", "v.a = 1"])
def test_set_takes_no_more_than_one_value(toy: Toy, kpipe: Kpipe, more: str) -> None:
    result = kpipe("plan", "--set", f"stages.fit.params.epochs=1\n{more}")
    assert (result.code, result.out) == (2, "")
    if more == "v.a = 1":  # no TOML, so a string
        assert 'epochs = "1\\nv.a = 1" is not allowed' in result.err
    else:
        word = more.strip("[]").split(".")[0].split()[0]
        says = f"error: --set stages.fit.params.epochs: behind its value stands {word}\n  hint: a --set for each key\n"
        assert result.err == says
    assert kpipe("plan", "--set", "stages.fit.params.epochs=1\n# more\n").code == 0


def test_set_refuses_a_whole_number_that_toml_does_not_have(kpipe: Kpipe) -> None:
    for number in ("9" * 400, f"0x{'f' * 4000}", f"[{'9' * 400}]"):
        says = f"error: --set stages.fit.params.rate: this whole number is too large\n{LARGEST}"
        assert kpipe("plan", "--set", f"stages.fit.params.rate={number}") == Result(2, "", says)


def test_list_nested_too_deep_is_named(toy: Toy, kpipe: Kpipe) -> None:
    toy.edit("pipeline.toml", "epochs = 8", f"epochs = {'[' * 3000}{']' * 3000}")
    assert kpipe("plan") == Result(2, "", "error: pipeline.toml: its lists or tables are nested too deep\n")


def test_path_longer_than_the_file_system_allows_is_a_mistake_of_the_file(toy: Toy, kpipe: Kpipe) -> None:
    toy.edit("pipeline.toml", 'source = "data"', f'source = "{"d" * 300}"')
    result = kpipe("plan")
    assert result.code == 2
    assert ": folder cannot be read: File name too long\n  --> pipeline.toml:11:10\n" in result.err


def test_name_of_a_module_longer_than_the_file_system_allows_is_a_mistake_of_the_file(toy: Toy, kpipe: Kpipe) -> None:
    toy.edit("pipeline.toml", '"stages.fit"', f'"stages.{"f" * 300}"')
    result = kpipe("plan")
    assert result.code == 2
    assert "is not the dotted name of a module\n  --> pipeline.toml:14:7\n" in result.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"FACTOR = 10\nNAME = 'd\xe9j\xe0'\n", "error: (unicode error) 'utf-8' codec can't decode byte 0xe9"),
        (b"FACTOR = 10\nNAME = '\0'\n", "error: source code string cannot contain null bytes\n  --> stages/deep.py:"),
    ],
)
def test_source_that_is_no_text_is_named(toy: Toy, kpipe: Kpipe, text: bytes, expected: str) -> None:
    (toy.root / "stages" / "deep.py").write_bytes(text)
    result = kpipe("plan")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(expected)
    assert "  --> stages/deep.py:" in result.err


@pytest.mark.parametrize("literal", ["[{1, 2}]", "{'a': b'x'}", "{(1, 2): 3}", "[1j]", "{[1]: 2}", "..."])
def test_any_constant_may_stand_in_a_module(toy: Toy, kpipe: Kpipe, monkeypatch: pytest.MonkeyPatch, literal: str) -> None:
    """What is known of a file is kept as JSON, once its time stamp is old enough."""
    monkeypatch.setattr("kpipe.statcache.RECENT_NS", -1_000_000_000)
    toy.edit("stages/deep.py", "FACTOR = 10", f"FACTOR = 10\nCONSTANT = {literal}")
    assert kpipe("plan").code == 0
    assert kpipe("plan").code == 0


@pytest.mark.parametrize("annotation", ["File", "Folder", "File | Folder"])
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_neither_file_nor_folder_is_refused_without_being_opened(
    toy: Toy, kpipe: Kpipe, annotation: str, linked: bool
) -> None:
    os.mkfifo(toy.root / "pipe")
    (toy.root / "link").symlink_to("pipe")
    toy.edit("stages/load.py", "import Folder", "import File, Folder")
    toy.edit("stages/load.py", "source: Folder", f"source: {annotation}")
    toy.edit("pipeline.toml", '"data"', '"link"' if linked else '"pipe"')
    result = kpipe("plan")
    assert result.code == 2
    assert f" is not a {annotation.lower().replace('|', 'or')}\n  --> pipeline.toml:11:10\n" in result.err


@pytest.mark.parametrize("store", ["data", "data/store", "data/sub/../store", "linked/store", "{root}/data/store"])
def test_store_inside_a_folder_that_a_stage_reads_is_refused(toy: Toy, kpipe: Kpipe, store: str) -> None:
    (toy.root / "linked").symlink_to("data")
    result = kpipe("plan", KPIPE_STORE=store.format(root=toy.root))
    assert result.code == 2
    assert result.err.startswith(
        'error: source = "data": kpipe\'s store lies in this folder, and every run changes what is in it\n  --> pipeline.toml:11:10'
    )
    assert kpipe("plan", KPIPE_STORE="data2").code == 0


@pytest.mark.parametrize("home", ["~", "~/store"])
def test_store_below_the_home_is_found_there(toy: Toy, kpipe: Kpipe, tmp_path: Path, home: str) -> None:
    assert kpipe("plan", KPIPE_STORE=home, HOME=str(tmp_path / "home")).code == 0
    assert (tmp_path / home.replace("~", "home") / "records").is_dir()
    assert not (toy.root / home).exists()


def test_folder_called_like_a_pipeline_file_is_named(toy: Toy, kpipe: Kpipe) -> None:
    (toy.root / "pipeline.toml").rename(toy.root / "other.toml")
    (toy.root / "pipeline.toml").mkdir()
    hint = "  hint: kpipe run FILE; FILE is pipeline.toml where left out\n"
    assert kpipe("plan") == Result(2, "", f"error: pipeline.toml is a folder, not a pipeline file\n{hint}")


def test_variable_of_include_that_no_stage_uses_is_a_notice(toy: Toy, kpipe: Kpipe) -> None:
    toy.edit("pipeline.toml", "[matrix]", '[matrix]\ninclude = [{ modle = "a" }]')
    result = kpipe("plan")
    assert result.code == 0
    assert result.err == "notice: modle, which include adds, is used by no stage\n"


def test_spaces_in_a_reference_do_not_count(toy: Toy, kpipe: Kpipe) -> None:
    toy.edit("pipeline.toml", "${model.rate}", "${ model.rate }")
    assert kpipe("plan").code == 0


@pytest.mark.parametrize("backend", ["torch", "numpy", "openvino"])
def test_other_keras_backends_are_refused_before_anything_starts(toy: Toy, backend: str) -> None:
    toy.environment["KERAS_BACKEND"] = backend
    result = toy.kpipe("run")
    assert result.code == 2
    assert result.err == f"error: KERAS_BACKEND={backend}: kpipe runs on tensorflow or jax\n  hint: KERAS_BACKEND=tensorflow\n"
    assert not (toy.root / ".kpipe" / "records").exists() or list((toy.root / ".kpipe" / "records").iterdir()) == []


def test_mistyped_command_has_a_hint(kpipe: Kpipe) -> None:
    result = kpipe("rnu")
    assert result.code == 2
    assert result.err.endswith("\n  hint: did you mean run?\n")


@dataclass(frozen=True)
class Link:
    """A stage of a chain."""

    name: str
    needs: tuple[str, ...]


def test_chain_of_many_stages_is_ordered_and_checked_for_circles() -> None:
    chain = {str(i): Link(str(i), (str(i + 1),) if i < 5000 else ()) for i in range(5001)}
    assert [link.name for link in topological(chain)] == [str(i) for i in reversed(range(5001))]
    assert find_cycle({name: link.needs for name, link in chain.items()}) is None
    problems: list[Problem] = []
    check_needs(chain | {"5000": Link("5000", ("0",))}, problems)
    assert [p.message[:60] for p in problems] == ["stages need each other in a circle: 0 -> 1 -> 2 -> 3 -> 4 ->"]
