"""Changes of inputs, code and surroundings: those that must count, then those that must not."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.benchmarks.faults.trial import Trial, overwrite, page_of
from tests.benchmarks.faults.verdicts import REFUSED, RIGHT, judge, judge_rerun

LARGE = 2_000_000  # bytes: beyond what Snakemake takes checksums of where nothing else is said


def input_edited_amid(trial: Trial) -> str:
    """An input that a stage has read already is edited before the stage has ended."""
    return edited_amid(trial, lambda: trial.write("data/first.txt", "four\n"), page_of("four", "three"))


def script_edited_amid(trial: Trial) -> str:
    """The stage's own file is edited before the stage has ended."""
    old, new = "first.read_text().strip()", "first.read_text().strip().upper()"
    return edited_amid(trial, lambda: trial.edit_module(trial.tool.join, old, new), page_of("ONE", "three"))


def edited_amid(trial: Trial, edit: Callable[[], None], expected: str) -> str:
    """What the next run makes of an edit that happened in the last one."""
    trial.write("data/second.txt", "three\n")
    with trial.amid("join") as process:
        edit()
    refused = trial.end(process).code
    verdict = judge(trial, trial.run(), expected)
    return f"{verdict}: the edited run is refused" if verdict == RIGHT and refused else verdict


def helper_edited(trial: Trial) -> str:
    """A module that the stage imports is edited, and nobody has declared it."""
    trial.edit_module("words", "before", "ahead of")
    return judge(trial, trial.run(), page_of(word="ahead of"))


def declared_helper_edited(trial: Trial) -> str:
    """The same, declared by hand as an input of the stage where the tool does not follow imports."""
    if trial.tool.helper:
        trial.edit(*trial.tool.helper)
        trial.good_run()
    return helper_edited(trial)


def computed_import_edited(trial: Trial) -> str:
    """The helper is edited, and no import statement names it."""
    package = trial.tool.package
    computed = f'from importlib import import_module\n\njoined = import_module("".join([{package!r}, "words"])).joined'
    trial.edit_module(trial.tool.join, f"from {package}words import joined", computed)
    return REFUSED if trial.run().code and not trial.ran("join") else helper_edited(trial)


def undeclared_file_edited(trial: Trial) -> str:
    """The stage reads a file that it was not given, and that is edited."""
    third = "data/third.txt"
    trial.write(third, "")
    trial.edit_module(trial.tool.join, "second.read_text()", '(second.read_text() + (second.parent / "third.txt").read_text())')
    trial.good_run()
    trial.write(third, "and three")
    return judge(trial, trial.run(), page_of(second="two\nand three"))


def variable_changed(trial: Trial) -> str:
    """The stage reads an environment variable, and that changes."""
    trial.edit_module(trial.tool.join, 'files."""', 'files."""\n\nimport os')
    trial.edit_module(trial.tool.join, "second.read_text()", 'os.environ.get("SECOND", second.read_text())')
    trial.good_run()
    trial.environment["SECOND"] = "three"
    return judge(trial, trial.run(), page_of(second="three"))


def input_replaced(trial: Trial) -> str:
    """Another content of the same size under the same time, as `cp -p`, `rsync -t` or an archive leave it."""
    trial.good_run()  # it has seen the file again, now that its time is old enough to be believed
    path = trial.folder / "data/first.txt"
    overwrite(path, b"six\n", unseen=True)
    return judge(trial, trial.run(), page_of("six"))


def inputs_swapped(trial: Trial) -> str:
    """Two inputs change places, with their times."""
    data = trial.folder / "data"
    for old, new in (("first", "aside"), ("second", "first"), ("aside", "second")):
        (data / f"{old}.txt").rename(data / f"{new}.txt")
    return judge(trial, trial.run(), page_of("two", "one"))


def inputs_swapped_cached(trial: Trial) -> str:
    """Two inputs change contents, where results are kept in a cache."""
    trial.write("data/first.txt", "two\n")
    trial.write("data/second.txt", "one\n")
    verdict = judge(trial, trial.run(), page_of("two", "one"))
    return "**the result of the other order**" if verdict != RIGHT and trial.page() == page_of() else verdict


def comment_edited(trial: Trial) -> str:
    """Only a docstring and a comment of the stage change."""
    trial.edit_module(trial.tool.join, '"""Joins the words of two files."""', '"""Joins words."""  # of two files')
    return judge_rerun(trial, "join")


def input_touched(trial: Trial) -> str:
    """Only the time of an input changes."""
    os.utime(trial.folder / "data/first.txt")
    return judge_rerun(trial, "join")


def large_input_touched(trial: Trial) -> str:
    """Only the time of an input of 2 MB changes."""
    trial.write("data/first.txt", "one" + " " * LARGE)
    trial.good_run()
    return input_touched(trial)


def same_output_upstream(trial: Trial) -> str:
    """An edit upstream that leaves the output of its stage as it was."""
    trial.write("data/first.txt", "one \n")
    return judge_rerun(trial, "report")
