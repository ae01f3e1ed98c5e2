"""The fault matrix: after every kind of change exactly the stages rerun that it concerns, and the report says what is new.

A row is a change to a project that has run, the instances that must rerun, and what the report then says anew. The
project's kpipe believes time stamps at once, as if everything had been at rest: what it does not see, nobody ever would.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

import kpipe
from tests.engine.conftest import ALL, Toy

FITS = {"fit[a]", "fit[b]"}
REPORT = {"report"}
PAST, FUTURE = 1, 4_070_908_800  # 1970, 2099

PIPELINE = """
[pipeline]
name = "toy"

[matrix]
model = [{ name = "a", net = "small", rate = 0.5, unused = 1 }, { name = "b", net = "large", rate = 2 }]

[stages.load]
run = "stages.load"
[stages.load.params]
source = "data"
labels = "labels.txt"

[stages.fit]
run = "stages.fit"
needs = ["load"]
[stages.fit.params]
rate = "${model.rate}"
net = "${model.net}"
epochs = 8
flag = 1

[stages.report]
run = "stages.report"
needs = ["fit"]
gather = true
"""

LOAD = """
from kpipe.stage import File, Folder, Stage

def run(stage: Stage, *, source: Folder, labels: File) -> None:
    words = [p.read_text() for p in sorted(source.rglob("*")) if p.is_file()]
    (stage.out / "words.txt").write_text(" ".join([*words, labels.read_text()]))
"""

FIT = '''
"""Fits."""
from typing import Literal

from kpipe.stage import Module, Pretrained, Stage
from stages.helper import scale
from stages.parts import unit

def run(stage: Stage, *, rate: float, net: Module["stages.nets"], weights: Literal["random"] | Pretrained = "random",
        epochs: int | float | str = 1, flag: bool | int = 0, note: str | None = None, tags: list[str] | None = None,
        width: int = 3) -> None:
    """Counts words."""
    [loaded] = stage.inputs.values()  # whatever the need is called
    value = scale(len((loaded / "words.txt").read_text().split()) * rate)
    text = f"{value} {unit()} after {epochs}, {stage.module(net).DEPTH} deep, flag {flag}, note {note}"
    (stage.out / "fit.txt").write_text(text)
'''

REPORT_STAGE = """
from kpipe.stage import Stage

def run(stage: Stage) -> None:
    title = stage.resource("title.txt").read_text()
    fits = [(b.label, folder) for b in stage.branches for folder in b.inputs.values()]
    lines = [label + ": " + (folder / "fit.txt").read_text() for label, folder in fits]
    (stage.out / "report.html").write_text("\\n".join([title, *lines]))
"""

NET = 'IMAGENET = {{"file": "{}.h5", "md5": "{}"}}\n'
FILES = {
    "pipeline.toml": PIPELINE,
    "stages/__init__.py": "",
    "stages/load.py": LOAD,
    "stages/fit.py": FIT,
    "stages/report.py": REPORT_STAGE,
    "stages/parts/__init__.py": 'def unit() -> str:\n    return "points"\n',
    "stages/nets/__init__.py": "",
    "stages/nets/small.py": "DEPTH = 2\n" + NET.format("small", hashlib.md5(b"weights").hexdigest()),
    "stages/nets/large.py": "from stages.blocks import BLOCKS\n\nDEPTH = BLOCKS + 1\n" + NET.format("large", "0" * 32),
    "stages/blocks.py": "BLOCKS = 2\n",
    "data/1.txt": "one",
    "data/2.txt": "two",
    "aside/3.txt": "six",
    "aside/same.txt": "six",
    "aside/other.txt": "six more",
    "aside/deep.py": "FACTOR = 10\n",
    "aside/deeper.py": "FACTOR = 20\n",
    "labels.txt": "cat dog",
}
LINKS = {"data/3.txt": "../aside/3.txt", "stages/deep.py": "../aside/deep.py"}

KPIPE = """
import sys
from types import SimpleNamespace
import kpipe.statcache
kpipe.statcache.RECENT_NS = -10_000_000_000
{patch}
from kpipe.cli import invoke
sys.exit(invoke(sys.argv[1:]))
"""


class Project(Toy):
    """A toy run by a kpipe that believes time stamps at once, and that a test may patch."""

    def __init__(self, root: Path, files: Mapping[str, str], links: Mapping[str, str]) -> None:
        super().__init__(root)
        self.patch = ""
        self.page = ""
        for name, text in files.items():
            self.write(name, text)
        for name, target in links.items():
            (root / name).unlink(missing_ok=True)
            (root / name).symlink_to(target)

    def command(self, *args: str) -> tuple[list[str], dict[str, str]]:
        _, environment = super().command()
        return [sys.executable, "-c", KPIPE.format(patch=self.patch), *args], environment

    def run(self, *args: str) -> dict[str, str]:
        result = self.kpipe("run", "--json", *args)
        assert result.code == 0, result.err
        self.page = Path(result.json["reports"][-1]).name
        return {row["instance"]: row["status"] for row in result.json["instances"]}

    @property
    def report(self) -> str:
        return (self.root / "reports" / self.page).read_text()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("matrix") / "project", FILES, LINKS)
    assert project.ran() == ALL
    assert project.report.splitlines() == [
        "Toy",
        "a: 25.0 points after 8, 2 deep, flag 1, note None",
        "b: 100.0 points after 8, 3 deep, flag 1, note None",
    ]
    return project


@pytest.fixture
def project(template: Project, tmp_path: Path) -> Project:
    """A copy of a project that has run."""
    return template.copy(tmp_path / "project")


@pytest.fixture
def rested(project: Project) -> Project:
    """One that knows each of its files by its time stamp."""
    assert project.ran() == set()
    return project


# what a change can be

Change = Callable[[Project], object]


def edited(name: str, old: str, new: str) -> Change:
    return lambda project: project.edit(name, old, new)


def configured(old: str, new: str) -> Change:
    return edited("pipeline.toml", old, new)


def written(name: str, text: str = "") -> Change:
    return lambda project: project.write(name, text)


def removed(name: str) -> Change:
    return lambda project: (project.root / name).unlink()


def renamed(name: str, new: str) -> Change:
    return lambda project: (project.root / name).rename(project.root / new)


def linked(name: str, target: str) -> Change:
    """A link in the place of whatever is there."""
    return together(renamed(name, "away"), lambda project: (project.root / name).symlink_to(project.root / target))


def swapped(one: str, two: str) -> Change:
    return together(renamed(one, "spare"), renamed(two, one), renamed("spare", two))


def dated(name: str, time: int) -> Change:
    return lambda project: os.utime(project.root / name, (time, time))


def in_environment(**variables: str) -> Change:
    return lambda project: project.environment.update(variables)


def importable(folder: str) -> Change:
    """A folder whose modules and distributions are found before the installed ones."""

    def make(project: Project) -> None:
        rest = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
        project.environment["PYTHONPATH"] = os.pathsep.join([str(project.root / folder), *rest])

    return make


def together(*changes: Change) -> Change:
    return lambda project: [change(project) for change in changes]


def unnoticed(name: str, change: Change) -> Change:
    """A change that keeps a file's size and puts its time stamp back."""

    def make(project: Project) -> None:
        before = (project.root / name).stat()
        change(project)
        os.utime(project.root / name, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = (project.root / name).stat()
        assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)

    return make


def row(id_: str, change: Change, rerun: Iterable[str] = (), says: str = "") -> Any:
    """A change, what reruns, and what the report then says that it did not say before."""
    return pytest.param(change, set(rerun), says, id=id_)


def check(project: Project, change: Change, rerun: set[str], says: str = "") -> None:
    before = project.report
    change(project)
    assert project.ran() == rerun
    if says:
        assert says not in before and says in project.report
    else:
        assert project.report == before


# the pipeline file

SECOND = '{ name = "b", net = "large", rate = 2 }'
THIRD = '{ name = "c", net = "small", rate = 1 }'


def stages_in_another_order(project: Project) -> None:
    head, stages = (project.root / "pipeline.toml").read_text().split("[stages.load]")
    load, *others = ("[stages.load]" + stages.rstrip()).split("\n\n")
    project.write("pipeline.toml", head + "\n\n".join([*reversed(others), load]))


OF_THE_FILE = [
    row("parameter", configured("epochs = 8", "epochs = 9"), FITS | REPORT, "after 9"),
    row("parameter given that was left out", configured("flag = 1", 'flag = 1\nnote = "x"'), FITS | REPORT, "note x"),
    row("parameter left out for its default", configured("flag = 1", ""), FITS | REPORT, "flag 0"),
    row("default written out", configured("flag = 1", "flag = 1\nwidth = 3")),
    row("empty list instead of None", configured("flag = 1", "flag = 1\ntags = []"), FITS),
    row("8 as 8.0", configured("epochs = 8", "epochs = 8.0"), FITS | REPORT, "after 8.0"),
    row("8 as a string", configured("epochs = 8", 'epochs = "8"'), FITS),
    row("1 as true", configured("flag = 1", "flag = true"), FITS | REPORT, "flag True"),
    row("parameters in another order", configured("epochs = 8\nflag = 1", "flag = 1\nepochs = 8")),
    row("stages in another order", stages_in_another_order),
    row("comment and layout", configured("epochs = 8", "epochs   =   8  # enough\n\n")),
    row("resources", configured('needs = ["load"]', 'needs = ["load"]\nresources = { gpus = 1 }')),
    row("field of an axis value", configured("rate = 2", "rate = 4"), {"fit[b]"} | REPORT, "b: 200"),
    row("field that no stage uses", configured("unused = 1", "unused = 2")),
    row("fields in another order", configured('net = "small", rate = 0.5', 'rate = 0.5, net = "small"')),
    row("axis value added", configured(SECOND, f"{SECOND}, {THIRD}"), {"fit[c]"} | REPORT, "c: 50"),
    row("axis value renamed", configured('name = "a"', 'name = "z"'), REPORT, "z: 25.0"),
    row("axis renamed", configured("model", "variant"), REPORT),
    row("axis added that no stage uses", configured("[matrix]", '[matrix]\nseason = ["dry", "wet"]')),
    row("stage renamed", together(configured("[stages.fit", "[stages.x"), configured('["fit"]', '["x"]')), REPORT),
    row("need renamed", together(configured("[stages.load", "[stages.x"), configured('["load"]', '["x"]')), FITS),
    row("module renamed", together(renamed("stages/fit.py", "stages/x.py"), configured('"stages.fit"', '"stages.x"')), FITS),
    row("folder called ./data", configured('"data"', '"./data"'), {"load"}),
    row("file renamed", together(renamed("labels.txt", "x"), configured("labels.txt", "x")), {"load"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "rerun", "says"), OF_THE_FILE)
def test_change_of_the_pipeline_file(project: Project, change: Change, rerun: set[str], says: str) -> None:
    check(project, change, rerun, says)


def test_order_of_axis_values_is_seen_by_the_gathered_stage_alone(project: Project) -> None:
    title, a, b = project.report.splitlines()
    project.edit("pipeline.toml", f", {SECOND}", "")
    project.edit("pipeline.toml", "model = [", f"model = [{SECOND}, ")
    assert project.ran() == REPORT
    assert project.report.splitlines() == [title, b, a]


@pytest.mark.slow
@pytest.mark.parametrize(
    "drop",
    [configured(f", {SECOND}", ""), configured("[matrix]", '[matrix]\nexclude = [{ model = "b" }]')],
    ids=["removed", "excluded"],
)
def test_branch_that_goes_and_comes_back_is_not_computed_again(project: Project, drop: Change) -> None:
    title, a, b = project.report.splitlines()
    text = (project.root / "pipeline.toml").read_text()
    drop(project)
    assert project.ran() == REPORT
    assert project.report.splitlines() == [title, a]
    project.write("pipeline.toml", text)
    assert project.ran() == set()
    assert project.report.splitlines() == [title, a, b]


def test_branches_that_mean_the_same_are_computed_once(toy: Toy) -> None:
    toy.edit("pipeline.toml", "rate = 2", "rate = 0.5")
    assert toy.ran() == ALL - {"fit[b]"}
    assert toy.report == "Toy\na: 10.0 after 8\nb: 10.0 after 8"


@pytest.mark.slow
def test_parameter_given_on_the_command_line_is_the_same_as_in_the_file(project: Project) -> None:
    project.edit("pipeline.toml", "epochs = 8", "epochs = 9")
    assert project.ran("--set", "stages.fit.params.epochs=8") == set()
    assert project.ran() == FITS | REPORT
    assert project.ran("--jobs", "2", "--keep-going") == set()


@pytest.mark.slow
def test_name_of_a_pipeline_or_its_file_reruns_nothing(project: Project) -> None:
    before = project.report
    project.edit("pipeline.toml", 'name = "toy"', 'name = "other"')
    assert project.ran() == set()
    assert (project.page, project.report) == ("other-tensorflow.html", before)
    (project.root / "pipeline.toml").rename(project.root / "another.toml")
    assert project.ran("another.toml") == set()


# inputs

LOADED = {"load"} | FITS  # the words are others, their number is not
OF_AN_INPUT = [
    row("bytes", written("data/1.txt", "one more"), ALL, "a: 30.0"),
    row("bytes that matter one level up", written("labels.txt", "cat cow"), LOADED),
    row("name in the same place", renamed("data/2.txt", "data/2b.txt"), {"load"}),
    row("name in another place", renamed("data/2.txt", "data/0.txt"), LOADED),
    row("file added", written("data/4.txt", "more"), ALL, "a: 30.0"),
    row("file added further down", written("data/4/4.txt", "more"), ALL, "a: 30.0"),
    row("empty file added", written("data/4.txt"), LOADED),
    row("empty folder added", lambda project: (project.root / "data/4").mkdir(), {"load"}),
    row("file removed", removed("data/2.txt"), ALL, "a: 20.0"),
    row("file emptied", written("data/2.txt"), ALL, "a: 20.0"),
    row("files swapped", swapped("data/1.txt", "data/2.txt"), LOADED),
    row("time stamp in the past", dated("data/1.txt", PAST)),
    row("time stamp in the future", dated("data/1.txt", FUTURE)),
    row("permissions", lambda project: (project.root / "data/1.txt").chmod(0o755)),
    row("written with the same bytes", written("data/1.txt", "one")),
    row("copied", together(lambda p: shutil.copytree(p.root / "data", p.root / "copy"), swapped("data", "copy"))),
    row("bytes behind the old time stamp", unnoticed("data/1.txt", written("data/1.txt", "uno")), LOADED),
    row("file behind the old time stamp", unnoticed("data/1.txt", swapped("data/1.txt", "data/2.txt")), LOADED),
    row("folder made a link", linked("data", "away")),
    row("file made a link", linked("labels.txt", "away")),
    row("file in a folder made a link", linked("data/1.txt", "away")),
    row("link to the same content", linked("data/3.txt", "aside/same.txt")),
    row("link to other content", linked("data/3.txt", "aside/other.txt"), ALL, "a: 30.0"),
    row("bytes behind a link", unnoticed("data/3.txt", written("aside/3.txt", "ten")), LOADED),
    row("unrelated file beside", written("data.txt", "one")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "rerun", "says"), OF_AN_INPUT)
def test_change_of_an_input(rested: Project, change: Change, rerun: set[str], says: str) -> None:
    check(rested, change, rerun, says)


# code


def reformatted(project: Project) -> None:
    """Quotes, indentation, line breaks, line ends."""
    style = ["line-length=40", "format.quote-style='single'", "format.indent-style='tab'", "format.line-ending='cr-lf'"]
    options = [part for option in style for part in ("--config", option)]
    subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--quiet", "--isolated", *options, "stages"], cwd=project.root, check=True
    )
    assert b"'words.txt'" in (project.root / "stages/fit.py").read_bytes()


def commented(project: Project) -> None:
    for path in sorted((project.root / "stages").rglob("*.py")):
        text = path.read_text().replace('"""Fits."""', "").replace("Counts words.", "Counts\n\n    and multiplies.")
        path.write_text(f'"""Another docstring."""\n\n\n# a comment\n{text}\n# the end\n')


OF_CODE = [
    row("stage", edited("stages/load.py", '" ".join', '" more ".join'), ALL, "a: 40.0"),
    row("stage with the same output", edited("stages/load.py", 'source.rglob("*")', '[*source.rglob("*")]'), {"load"}),
    row("helper", edited("stages/helper.py", "x * FACTOR", "x * FACTOR + 1"), FITS | REPORT, "a: 26.0"),
    row("helper of a helper", edited("stages/deep.py", "10", "11"), FITS | REPORT, "a: 27.5"),
    row("function of a package", edited("stages/parts/__init__.py", "points", "marks"), FITS | REPORT, "25.0 marks"),
    row("package that all are in", written("stages/__init__.py", "X = 1"), ALL),
    row("function added that nobody calls", edited("stages/helper.py", "def scale", "def no(): ...\ndef scale"), FITS),
    row("default", edited("stages/fit.py", "note: str | None = None", 'note: str | None = "y"'), FITS | REPORT, "note y"),
    row("default that the file overrides", edited("stages/fit.py", "flag: bool | int = 0", "flag: bool | int = 5"), FITS),
    row("parameter added", edited("stages/fit.py", "width: int = 3", "width: int = 3, depth: int = 4"), FITS),
    row("resource", written("stages/title.txt", "Other"), REPORT, "Other"),
    row("layout", reformatted),
    row("comments and docstrings", commented),
    row("string prefix", edited("stages/parts/__init__.py", '"points"', 'u"points"')),
    row("time stamp in the past", dated("stages/helper.py", PAST)),
    row("time stamp in the future", dated("stages/helper.py", FUTURE)),
    row("unrelated files beside", together(written("stages/notes.md", "x"), written("stages/other.py", "X = 1"))),
    row("module added to a package", written("stages/nets/huge.py", "DEPTH = 9\n")),
    row("module of one branch", edited("stages/nets/large.py", "BLOCKS + 1", "BLOCKS + 2"), {"fit[b]"} | REPORT, "4 deep"),
    row("helper of one branch", edited("stages/blocks.py", "2", "5"), {"fit[b]"} | REPORT, "6 deep"),
    row("helper made a link", linked("stages/helper.py", "away")),
    row("link to other code", linked("stages/deep.py", "aside/deeper.py"), FITS | REPORT, "a: 50.0"),
    row("code folder made a link", linked("stages", "away")),
    row(
        "code behind the old time stamp",
        unnoticed("stages/deep.py", edited("stages/deep.py", "10", "11")),
        FITS | REPORT,
        "a: 27.5",
    ),
    row("resource behind the old time stamp", unnoticed("stages/title.txt", written("stages/title.txt", "New")), REPORT, "New"),
    row(
        "package in the place of a module",
        written("stages/helper/__init__.py", "def scale(x): return 7\n"),
        FITS | REPORT,
        "a: 7",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "rerun", "says"), OF_CODE)
def test_change_of_code(rested: Project, change: Change, rerun: set[str], says: str) -> None:
    check(rested, change, rerun, says)


@pytest.mark.slow
def test_parameter_added_and_then_written_out_reruns_once(project: Project) -> None:
    project.edit("stages/fit.py", "width: int = 3", "width: int = 3, depth: int = 4")
    project.run()
    check(project, configured("flag = 1", "flag = 1\ndepth = 4"), set())


def test_module_removed_while_in_use_is_named(project: Project) -> None:
    (project.root / "stages/nets/large.py").unlink()
    result = project.kpipe("run")
    assert result.code == 2
    assert 'net = "large"' in result.err and 'allowed: one of "small"' in result.err


def test_helper_removed_while_in_use_is_named(project: Project) -> None:
    (project.root / "stages/helper.py").unlink()
    result = project.kpipe("run")
    assert result.code != 0
    assert "stages.helper" in result.err.partition("error: ")[2]


# what the text of a stage does not say plainly: seen or refused, never believed

STAR = together(
    edited("stages/helper.py", "def scale", "from stages.parts import *\n\ndef scale"), written("stages/parts/more.py", "N = 1")
)
OUTSIDE = edited("stages/helper.py", "def scale", "from mine import N\n\ndef scale")
A_LIST = together(
    edited("stages/load.py", "labels: File", "labels: list[File]"),
    edited("stages/load.py", "labels.read_text", "open(labels[0]).read"),
)

NOT_PLAIN = [
    pytest.param(
        together(STAR, edited("stages/parts/__init__.py", "def unit", '__all__ = ["more", "unit"]\n\ndef unit')),
        written("stages/parts/more.py", "N = 2"),
        FITS,
        id="module imported by a star",
    ),
    pytest.param(
        together(OUTSIDE, written("lib/mine.py", "N = 1"), importable("lib")),
        written("lib/mine.py", "N = 2"),
        FITS,
        id="module on PYTHONPATH that no distribution has",
    ),
    pytest.param(
        together(A_LIST, configured('"labels.txt"', '["labels.txt"]')),
        written("labels.txt", "cat cow"),
        LOADED,
        id="list of files",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("given", "change", "rerun"), NOT_PLAIN)
def test_what_is_not_plain_is_seen_or_refused(project: Project, given: Change, change: Change, rerun: set[str]) -> None:
    given(project)
    first = project.kpipe("run")
    if first.code == 0:
        check(project, change, rerun)
    else:
        assert "Traceback" not in first.err


def test_package_of_the_same_name_elsewhere_is_not_taken_for_the_projects(tmp_path: Path) -> None:
    """Without an __init__.py in stages/, Python prefers a package of that name which has one, wherever it lies."""
    toy = Project(tmp_path / "project", {}, {})
    toy.write("lib/stages/__init__.py", "")
    toy.write("lib/stages/load.py", 'def run(stage, *, source): (stage.out / "words.txt").write_text("a b c d")\n')
    importable("lib")(toy)
    assert toy.run()["load"] == "done"
    assert toy.report.splitlines()[1] == "a: 10.0 after 8"


@pytest.mark.slow
def test_folder_without_an_init_is_code_like_any_other(toy: Toy) -> None:
    toy.edit("stages/fit.py", "from stages.helper import scale", "from stages import helper\n\nscale = helper.scale")
    toy.run()
    toy.edit("stages/helper.py", "def scale", "# a comment\ndef scale")
    assert toy.ran() == set()
    assert toy.ran(str(toy.root / "pipeline.toml")) == set()
    toy.edit("stages/deep.py", "10", "11")
    assert toy.ran() == FITS | REPORT


def test_axis_values_that_look_alike_are_told_apart_or_refused(project: Project) -> None:
    project.edit("pipeline.toml", 'name = "a"', "name = 1")
    project.edit("pipeline.toml", 'name = "b"', 'name = "1"')
    result = project.kpipe("run")
    assert result.code == 2 or [line.split()[1] for line in project.report.splitlines()[1:]] == ["25.0", "100"]


# there and back


@pytest.mark.slow
def test_change_and_change_back_takes_both_from_the_cache(rested: Project) -> None:
    changes = [("stages/deep.py", "10", "11"), ("data/1.txt", "one", "one more"), ("pipeline.toml", "epochs = 8", "epochs = 9")]
    old = rested.report
    for file, before, after in changes:
        rested.edit(file, before, after)
    assert rested.ran() == ALL
    new = rested.report
    for file, before, after in changes:
        rested.edit(file, after, before)
    assert (rested.ran(), rested.report) == (set(), old)
    for file, before, after in changes:
        rested.edit(file, before, after)
    assert (rested.ran(), rested.report) == (set(), new)


def test_edit_undone_before_a_run_is_none(rested: Project) -> None:
    check(rested, together(edited("stages/deep.py", "10", "11"), edited("stages/deep.py", "11", "10")), set())


@pytest.mark.slow
@pytest.mark.parametrize("time", [PAST, FUTURE], ids=["past", "future"])
def test_edit_that_keeps_an_odd_time_stamp_is_seen(project: Project, time: int) -> None:
    for name in ("data/1.txt", "stages/deep.py", "stages/title.txt"):
        dated(name, time)(project)
    assert project.ran() == set()
    check(project, unnoticed("data/1.txt", written("data/1.txt", "uno")), LOADED)
    check(project, unnoticed("stages/deep.py", edited("stages/deep.py", "10", "20")), FITS | REPORT, "a: 50.0")
    check(project, unnoticed("stages/title.txt", written("stages/title.txt", "New")), REPORT, "New")


@pytest.mark.slow
def test_same_size_edit_within_the_same_second_is_seen(toy: Toy) -> None:
    for word in ("aaa", "bbb", "ccc"):
        toy.write("data/1.txt", word)
        toy.write("stages/deep.py", f"FACTOR = {ord(word[0])}\n")
        toy.run()
        assert toy.report.splitlines()[1] == f"a: {ord(word[0]) * 1.0} after 8"


@pytest.mark.slow
def test_published_weights_count_by_their_content(project: Project) -> None:
    """A download that gives what was published changes nothing; another file does, for the branch that uses it."""
    project.environment["KERAS_HOME"] = "home"
    project.edit("pipeline.toml", "flag = 1", 'flag = 1\nweights = "imagenet"')
    assert project.ran() == FITS
    check(project, written("home/models/small.h5", "weights"), set())
    check(project, written("home/models/small.h5", "damaged"), {"fit[a]"})
    check(project, removed("home/models/small.h5"), set())


# branches beside each other


@pytest.mark.slow
def test_branch_alone_gives_what_it_gives_after_others(project: Project) -> None:
    """Branches share a worker, and must not share what a module of the project remembers."""
    project.edit("stages/helper.py", "def scale", "SEEN = []\n\ndef scale")
    project.edit("stages/helper.py", "return x * FACTOR", "SEEN.append(x)\n    return len(SEEN)")
    assert project.ran() == FITS | REPORT
    assert project.ran("--force", "fit[b]") == {"fit[b]"}


@pytest.mark.slow
def test_branch_alone_has_the_same_keras_as_after_others(project: Project) -> None:
    project.environment |= {"KERAS_BACKEND": "jax", "KERAS_HOME": "home"}
    project.write("home/keras.json", '{"floatx": "float64"}')
    project.edit("stages/helper.py", "def scale", "import keras\n\ndef scale")
    project.edit("stages/helper.py", "return x * FACTOR", "return told()")
    project.edit("stages/helper.py", "def scale", TOLD + "\ndef scale")
    assert project.ran() == FITS | REPORT
    assert [line.split(": ")[1].split(" points")[0] for line in project.report.splitlines()[1:]] == ["float64 float64 1e-07"] * 2


TOLD = """
def told():
    found = f"{keras.config.dtype_policy().name} {keras.config.floatx()} {keras.config.epsilon()}"
    keras.config.set_dtype_policy("bfloat16")
    keras.config.set_floatx("float16")
    keras.config.set_epsilon(0.1)
    return found
"""


# two that change places

PAIR = {
    "pipeline.toml": """
        [stages.left]
        run = "stages.say"
        params = { text = "l.txt" }
        [stages.right]
        run = "stages.say"
        params = { text = "r.txt" }
        [stages.join]
        run = "stages.join"
        needs = ["left", "right"]
        params = { first = "1.txt", second = "2.txt" }
        [stages.report]
        run = "stages.report"
        needs = ["join"]
        gather = true
        """,
    "stages/say.py": """
        from kpipe.stage import File, Stage

        def run(stage: Stage, *, text: File) -> None:
            (stage.out / "text").write_text(text.read_text())
        """,
    "stages/join.py": """
        from kpipe.stage import File, Stage

        def run(stage: Stage, *, first: File, second: File) -> None:
            said = [(stage.inputs[need] / "text").read_text() for need in ("left", "right")]
            (stage.out / "text").write_text(" ".join([*said, first.read_text(), second.read_text(), *stage.inputs]))
        """,
    "stages/report.py": """
        from kpipe.stage import Stage

        def run(stage: Stage) -> None:
            [branch] = stage.branches
            (stage.out / "report.html").write_text((branch.inputs["join"] / "text").read_text())
        """,
    "l.txt": "left",
    "r.txt": "right",
    "1.txt": "one",
    "2.txt": "two",
}


@pytest.fixture(scope="module")
def pair_template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("pair") / "project", PAIR, {})
    assert project.ran() == {"left", "right", "join"} | REPORT
    assert project.report == "left right one two left right"
    return project


@pytest.fixture
def pair(pair_template: Project, tmp_path: Path) -> Project:
    return pair_template.copy(tmp_path / "project")


def exchanged(one: str, two: str) -> Change:
    return together(configured(one, "?"), configured(two, one), configured("?", two))


OF_A_PAIR = [
    row("files of two stages", swapped("l.txt", "r.txt"), {"left", "right", "join"} | REPORT, "right left one two"),
    row("parameters of two stages", exchanged("l.txt", "r.txt"), {"join"} | REPORT, "right left one two"),
    row("names of two stages", exchanged("stages.left", "stages.right"), {"join"} | REPORT, "right left one two"),
    row("files of one stage", swapped("1.txt", "2.txt"), {"join"} | REPORT, "left right two one"),
    row("parameters of one stage", exchanged("1.txt", "2.txt"), {"join"} | REPORT, "left right two one"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "rerun", "says"), OF_A_PAIR)
def test_two_that_change_places(pair: Project, change: Change, rerun: set[str], says: str) -> None:
    check(pair, change, rerun, says)


def test_order_of_needs_makes_no_difference(pair: Project) -> None:
    check(pair, configured('["left", "right"]', '["right", "left"]'), set())
    before = pair.report
    shutil.rmtree(pair.root / ".kpipe")
    pair.run()
    assert pair.report == before


# Keras, its backends and its settings

ON_TENSORFLOW, ON_JAX = {"fit[tensorflow]"}, {"fit[jax]"}
ON_BOTH = ON_TENSORFLOW | ON_JAX
KERAS = {
    "pipeline.toml": """
        [pipeline]
        name = "toy"
        [matrix]
        backend = ["tensorflow", "jax"]
        [stages.load]
        run = "stages.load"
        [stages.fit]
        run = "stages.fit"
        needs = ["load"]
        [stages.report]
        run = "stages.report"
        needs = ["fit"]
        gather = true
        """,
    "stages/load.py": """
        from kpipe.stage import Stage

        def run(stage: Stage) -> None:
            (stage.out / "words.txt").write_text("one two")

        def never() -> None:
            import numpy
            import PIL.Image
            print(numpy, PIL.Image)
        """,
    "stages/fit.py": """
        import os
        from importlib.metadata import version
        from kpipe.stage import Stage

        def run(stage: Stage) -> None:
            (stage.out / "fit.txt").write_text(f"{os.environ['KERAS_BACKEND']} by {version('keras')}")

        def never() -> None:
            import keras
            print(keras)
        """,
    "stages/report.py": REPORT_STAGE,
}
GPUS = "import kpipe.identity; kpipe.identity.glob = SimpleNamespace(glob=lambda _: {})"


@pytest.fixture(scope="module")
def keras_template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("keras") / "project", KERAS, {})
    project.environment["KERAS_HOME"] = "home"
    project.patch = GPUS.format([])
    assert project.ran() == {"load"} | ON_BOTH | REPORT
    return project


@pytest.fixture
def keras(keras_template: Project, tmp_path: Path) -> Project:
    """A copy of a project that has run on both backends, on a machine without a GPU."""
    return keras_template.copy(tmp_path / "project")


def installed(distribution: str) -> Change:
    """Another version of a distribution."""
    text = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 9.9\n"
    return together(written(f"versions/{distribution}-9.9.dist-info/METADATA", text), importable("versions"))


def patched(statement: str) -> Change:
    return lambda project: setattr(project, "patch", statement)


def settings(folder: str = "home", **values: Any) -> Change:
    return written(f"{folder}/keras.json", json.dumps(values))


DEFAULTS = {"floatx": "float32", "epsilon": 1e-07, "backend": "tensorflow", "image_data_format": "channels_last"}
A_GPU = patched(GPUS.format(["/dev/nvidia0"]))
CUDA = together(installed("nvidia_cudnn_cu12"), installed("jax_cuda12_plugin"))

OF_KERAS = [
    row("keras version", installed("keras"), ON_BOTH | REPORT, "tensorflow by 9.9"),
    row("tensorflow version", installed("tensorflow"), ON_TENSORFLOW),
    row("jax version", installed("jax"), ON_JAX),
    row("jaxlib version", installed("jaxlib"), ON_JAX),
    row("version of a package that a stage imports", installed("numpy"), {"load"}),
    row("version of a package imported under another name", installed("pillow"), {"load"}),
    row("version of a package that no stage imports", installed("scipy")),
    row("floatx", settings(floatx="float64"), ON_BOTH),
    row("epsilon", settings(epsilon=1e-5), ON_BOTH),
    row("image data format", settings(image_data_format="channels_first"), ON_BOTH),
    row("keras.json with the defaults, as Keras writes it", settings(**DEFAULTS)),
    row("keras.json that names a backend", settings(backend="jax")),
    row("keras.json with a key that Keras does not know", settings(colour="red")),
    row("keras.json that is no JSON", written("home/keras.json", "floatx")),
    row("KERAS_HOME without settings", in_environment(KERAS_HOME="other")),
    row(
        "KERAS_HOME with other settings",
        together(settings("other", floatx="float16"), in_environment(KERAS_HOME="other")),
        ON_BOTH,
    ),
    row("a GPU that tensorflow can use", together(A_GPU, installed("nvidia_cudnn_cu12")), ON_TENSORFLOW),
    row("a GPU that jax can use", together(A_GPU, installed("jax_cuda12_plugin")), ON_JAX),
    row("a GPU that neither can use", A_GPU),
    row("a GPU that is hidden", together(A_GPU, CUDA, in_environment(CUDA_VISIBLE_DEVICES=""))),
    row("CUDA packages without a GPU", CUDA),
    row("limit of epochs", in_environment(KERAS_MAX_EPOCHS="1"), ON_BOTH),
    row("limit of steps", in_environment(KERAS_MAX_STEPS_PER_EPOCH="1"), ON_BOTH),
    row("flags of XLA", in_environment(XLA_FLAGS="--xla_cpu_enable_fast_math=true"), ON_BOTH),
    row("flags of tensorflow", in_environment(TF_ENABLE_ONEDNN_OPTS="0"), ON_TENSORFLOW),
    row("flags of jax", in_environment(JAX_ENABLE_X64="1"), ON_JAX),
    row("scripts beside in a folder called like a package", together(written("numpy/x.py"), written("keras/x.py"))),
]


@pytest.mark.parametrize(("change", "rerun", "says"), OF_KERAS)
def test_change_of_keras(keras: Project, change: Change, rerun: set[str], says: str) -> None:
    check(keras, change, rerun, says)


def test_home_has_the_settings_where_keras_home_is_not_set(keras: Project) -> None:
    check(keras, in_environment(KERAS_HOME="", HOME="x"), set())
    check(keras, settings("x/.keras", floatx="float16"), ON_BOTH)


@pytest.mark.slow
def test_version_of_a_package_that_must_be_searched_for_counts(keras: Project) -> None:
    """What one imports as dateutil is called python-dateutil, and nothing in kpipe says so."""
    keras.edit("stages/load.py", "import numpy\n", "import numpy, dateutil\n")
    assert keras.ran() == {"load"}
    check(keras, installed("python_dateutil"), {"load"})


def test_version_of_a_backend_counts_for_code_that_uses_it_without_keras(keras: Project) -> None:
    keras.edit("stages/load.py", "import numpy\n", "import numpy, jax\n")
    assert keras.ran() == {"load"}
    check(keras, installed("jax"), {"load"} | ON_JAX)


def test_backend_is_the_same_however_it_is_chosen(keras: Project) -> None:
    """By an axis, by the environment out of the axis, by default, by the file, and by the environment above the file."""
    title, _, jax = keras.report.splitlines()
    keras.environment["KERAS_BACKEND"] = "jax"
    assert keras.ran() == REPORT
    assert (keras.page, keras.report) == ("toy-jax.html", f"{title}\n{jax}")
    del keras.environment["KERAS_BACKEND"]
    keras.edit("pipeline.toml", '[matrix]\nbackend = ["tensorflow", "jax"]', "")
    assert keras.run() == {"load": "cached", "fit": "cached", "report": "done"}
    assert (keras.page, "tensorflow by" in keras.report) == ("toy-tensorflow.html", True)
    keras.edit("pipeline.toml", '"toy"', '"toy"\nbackend = "jax"')
    assert keras.run() == {"load": "cached", "fit": "cached", "report": "done"}
    assert (keras.page, "jax by" in keras.report) == ("toy-jax.html", True)
    keras.environment["KERAS_BACKEND"] = "tensorflow"
    assert keras.ran() == set()
    assert (keras.page, "tensorflow by" in keras.report) == ("toy-tensorflow.html", True)


@pytest.mark.parametrize(
    "choose",
    [in_environment(KERAS_BACKEND="jax"), configured('"toy"', '"toy"\nbackend = "jax"')],
    ids=["environment", "file"],
)
def test_other_backend_reruns_what_imports_keras(tmp_path: Path, choose: Change) -> None:
    project = Project(tmp_path / "project", KERAS, {})
    project.edit("pipeline.toml", '[matrix]\nbackend = ["tensorflow", "jax"]', "")
    assert project.ran() == {"load", "fit", "report"}
    choose(project)
    assert project.ran() == {"fit", "report"}
    assert (project.page, "jax by" in project.report) == ("toy-jax.html", True)


# the environment

OF_THE_ENVIRONMENT = [
    row("language", in_environment(LANG="de_DE.UTF-8", LC_ALL="C", LANGUAGE="de")),
    row("time zone", in_environment(TZ="Asia/Tokyo")),
    row("hash seed", in_environment(PYTHONHASHSEED="1")),
    row("another hash seed", in_environment(PYTHONHASHSEED="2")),
    row("threads", in_environment(OMP_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1")),
    row("home and user", in_environment(HOME="/nowhere", USER="nobody", TMPDIR="/tmp")),
    row("logging", in_environment(TF_CPP_MIN_LOG_LEVEL="0", PYTHONWARNINGS="ignore")),
    row("choice of GPUs where there is none", in_environment(CUDA_VISIBLE_DEVICES="1")),
    row("empty choice of a backend", in_environment(KERAS_BACKEND="")),
    row("store where it is by default", in_environment(KPIPE_STORE=".kpipe")),
]


@pytest.mark.parametrize(("change", "rerun", "says"), OF_THE_ENVIRONMENT)
def test_change_of_the_environment(keras: Project, change: Change, rerun: set[str], says: str) -> None:
    check(keras, change, rerun, says)


def test_backend_is_no_part_of_code_without_keras(project: Project) -> None:
    check(project, in_environment(KERAS_BACKEND="jax"), set())
    assert project.page == "toy-jax.html"


def test_home_counts_where_a_path_begins_with_it(project: Project) -> None:
    project.edit("pipeline.toml", '"labels.txt"', '"~/labels.txt"')
    project.environment["HOME"] = str(project.root)
    assert project.ran() == {"load"}
    project.write("x/labels.txt", "cat dog")
    check(project, in_environment(HOME=str(project.root / "x")), set())
    check(project, written("x/labels.txt", "cat"), ALL, "a: 20.0")


# kpipe, Python, places and the store


def upgraded(file: str, old: str, new: str) -> Change:
    """Another kpipe than the installed one."""

    def copied(project: Project) -> None:
        without = shutil.ignore_patterns("__pycache__")  # other tests' processes write there meanwhile
        shutil.copytree(Path(kpipe.__file__).parent, project.root / "engine" / "kpipe", ignore=without)

    return together(copied, edited(f"engine/kpipe/{file}", old, new), importable("engine"))


def lost(*patterns: str) -> Change:
    """Parts of the store removed by hand."""

    def make(project: Project) -> None:
        for path in [p for pattern in patterns for p in (project.root / ".kpipe").glob(pattern)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return make


def lost_output(instance: str, pattern: str = "{}") -> Change:
    """What the store has of an instance's output removed by hand."""

    def make(project: Project) -> None:
        records = [json.loads(p.read_text()) for p in (project.root / ".kpipe" / "records").glob("*.json")]
        (digest,) = {r["output_digest"] for r in records if r["instance"] == instance}
        lost("objects/" + pattern.format(digest))(project)

    return make


PYTHON = "import kpipe.identity as i; i.sys = SimpleNamespace(version_info=SimpleNamespace(major=3, minor=99))"
OF_THE_SURROUNDINGS = [
    row("another folder", lambda project: None),
    row("kpipe with another key schema", upgraded("key.py", "SCHEMA = ", "SCHEMA = 1000 + "), ALL),
    row("kpipe of another version", upgraded("__init__.py", kpipe.__version__, "99.0")),
    row("Python of another minor version", patched(PYTHON), ALL),
    row("output lost that others need", lost_output("fit[a]"), {"fit[a]"}),
    row("manifest of an output lost", lost_output("load", "{}.json"), {"load"}),
    row("file of an output lost", lost_output("load", "{}/words.txt"), {"load"}),
    row("output of the last stage lost", lost_output("report"), REPORT),
    row("all outputs lost", lost("objects/*"), ALL),
    row("all records lost", lost("records/*"), ALL),
    row("the store lost", lost("*"), ALL),
    row("all of the store but outputs and records lost", lost("[!or]*")),
]


@pytest.mark.parametrize(("change", "rerun", "says"), OF_THE_SURROUNDINGS)
def test_change_of_the_surroundings(project: Project, change: Change, rerun: set[str], says: str) -> None:
    check(project, change, rerun, says)


def test_place_of_the_project_and_of_the_caller_makes_no_difference(project: Project, tmp_path: Path) -> None:
    project.root = project.root.rename(tmp_path / "möved to")
    assert project.ran() == set()
    (tmp_path / "alias").symlink_to(project.root)
    assert project.ran(str(tmp_path / "alias" / "pipeline.toml")) == set()
    caller = copy.copy(project)
    caller.root = tmp_path
    assert caller.ran("möved to/pipeline.toml") == set()


def test_copy_that_shares_the_store_reruns_nothing(project: Project, tmp_path: Path) -> None:
    (project.root / ".kpipe").rename(tmp_path / "a störe with spaces")
    project.environment["KPIPE_STORE"] = str(tmp_path / "a störe with spaces")
    for place in (project, project.copy(tmp_path / "other")):
        assert place.ran() == set()
        assert not (place.root / ".kpipe").exists()
    project.environment["KPIPE_STORE"] = str(tmp_path / "new")
    assert project.ran() == ALL
