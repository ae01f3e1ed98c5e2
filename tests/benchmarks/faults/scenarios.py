"""The rows of the table: each is done to a project that ran once, and says what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.faults import accidents, changes
from tests.benchmarks.faults.trial import Trial


@dataclass(frozen=True)
class Fault:
    """A row of the table."""

    title: str
    happen: Callable[[Trial], str]
    cached: bool = False


FAULTS = (
    Fault("an input is edited while the stage runs", changes.input_edited_amid),
    Fault("the stage's script is edited while it runs", changes.script_edited_amid),
    Fault("a helper that the stage imports is edited, declared nowhere", changes.helper_edited),
    Fault("the same helper, declared by hand", changes.declared_helper_edited),
    Fault("the same helper, imported under a computed name", changes.computed_import_edited),
    Fault("a file is edited that the stage reads and nobody declared", changes.undeclared_file_edited),
    Fault("an environment variable that the stage reads changes", changes.variable_changed),
    Fault("an input gets other bytes, its size and time as before (`cp -p`)", changes.input_replaced),
    Fault("two inputs change places (`mv`)", changes.inputs_swapped),
    Fault("two inputs change contents, with a cache of results", changes.inputs_swapped_cached, cached=True),
    Fault("a stored result is damaged by the disk: size and time as before", accidents.cache_damaged, cached=True),
    Fault("a stored result is overwritten by a program: size as before", accidents.cache_overwritten, cached=True),
    Fault("the result itself is overwritten by hand", accidents.page_overwritten),
    Fault("a rerun fails: the last good result", accidents.rerun_fails),
    Fault("the tool is killed (SIGKILL) amid a stage: the next run", accidents.killed_amid),
    Fault("a second run begins beside the first", accidents.two_at_once),
    Fault("only a comment and a docstring of the stage change", changes.comment_edited),
    Fault("only the time of an input changes", changes.input_touched),
    Fault("only the time of an input of 2 MB changes", changes.large_input_touched),
    Fault("an edit upstream that changes no output", changes.same_output_upstream),
)
