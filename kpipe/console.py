"""The only module that prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kpipe.errors import ConfigError, KpipeError, Problem, StageFailed

COLOURS = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "bold": "1", "dim": "2"}


def is_terminal() -> bool:
    """Whether a person watches stderr."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    """The text in a colour, where stderr shows colours."""
    if not is_terminal() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{COLOURS[colour]}m{text}\033[0m"


def result(text: str) -> None:
    """A line of the command's result."""
    print(text, flush=True)


def result_json(value: Any) -> None:
    """The command's result as JSON."""
    result(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def say(text: str = "") -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def notice(text: str) -> None:
    """Something a person must know."""
    say(f"{paint('notice:', 'yellow')} {text}")


def table(rows: Sequence[Sequence[str]], gap: str = "  ") -> list[str]:
    """Rows as lines with aligned columns; the last column is left as it is."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)] if rows else []
    return [gap.join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows]


def error(e: KpipeError) -> None:
    """An error as a person reads it: what, where, what is allowed, hint."""
    if isinstance(e, ConfigError):
        for problem in e.problems:
            for line in problem_lines(problem, e.file):
                say(line)
        if len(e.problems) > 1:
            say(f"{len(e.problems)} errors; nothing was run")
        return
    if isinstance(e, StageFailed):
        if e.trace:
            say(e.trace.rstrip())
        say(f"{paint('error:', 'red')} {e.instance}: {e.message}")
    else:
        say(f"{paint('error:', 'red')} {e.message}")
    if e.hint:
        say(f"  {paint('hint:', 'blue')} {e.hint}")
    if isinstance(e, StageFailed) and e.log:
        say(f"  log: {relative(e.log)}")


def problem_lines(problem: Problem, pipeline: Path | None) -> Iterable[str]:
    """One mistake: message, file:line:column, the line with a caret, hint."""
    file = problem.file or pipeline
    line, column, length = problem.line, problem.column, problem.length
    text = ""
    if file and file.is_file():
        text = file.read_text(encoding="utf-8", errors="replace")
        if not line and problem.path:
            from kpipe.positions import find

            found = find(text, problem.path, problem.on)
            line, column, length = (found.line, found.column, found.length) if found else (0, 0, 1)
    yield f"{paint('error:', 'red')} {problem.message}"
    if file and line:
        number = str(line)
        yield f"  {paint('-->', 'blue')} {relative(file)}:{line}:{column}"
        source = text.splitlines()[line - 1] if line <= len(text.splitlines()) else ""
        tabs = "".join("\t" if c == "\t" else " " for c in source[: column - 1])
        yield f" {number} {paint('|', 'blue')} {source}"
        yield f" {' ' * len(number)} {paint('|', 'blue')} {tabs}{paint('^' * max(1, length), 'red')}"
    elif file and problem.path:
        yield f"  {paint('-->', 'blue')} {relative(file)}: {'.'.join(map(str, problem.path))} (not in the file: from --set)"
    if problem.hint:
        yield f"  {paint('hint:', 'blue')} {problem.hint}"


def relative(path: Path) -> str:
    """A path as one would type it from here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
