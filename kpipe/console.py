"""The only module that prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import category, east_asian_width

from kpipe.errors import ConfigError, KpipeError, Problem, StageFailed
from kpipe.tomlfile import override_keys
from kpipe.urls import masked

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
    say(noticed(text))


def noticed(text: str) -> str:
    """A text marked as something a person must know."""
    return f"{paint('notice:', 'yellow')} {text}"


def table(rows: Sequence[Sequence[str]], gap: str = "  ") -> list[str]:
    """Rows as lines with aligned columns; the last column is left as it is."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)] if rows else []
    return [gap.join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows]


def error(e: KpipeError) -> None:
    """An error as a person reads it: what, where, what is allowed, hint."""
    if isinstance(e, ConfigError):
        for line in config_error_lines(e):
            say(line)
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


def config_error_lines(e: ConfigError) -> Iterator[str]:
    """All mistakes in the order of the file, and their number."""
    placed = [(place(problem, e), problem) for problem in e.problems]
    for at, problem in sorted(placed, key=lambda row: (str(row[0].file or ""), row[0].line, row[0].column)):
        yield f"{paint('error:', 'red')} {problem.message}"
        yield from at.lines()
        if problem.hint:
            yield f"  {paint('hint:', 'blue')} {problem.hint}"
    if len(placed) > 1:
        yield f"{len(placed)} errors; nothing was run"


@dataclass(frozen=True)
class Place:
    """Where a mistake stands: a line of a file, a --set, or nowhere."""

    file: Path | None = None
    source: str = ""
    line: int = 0
    column: int = 0
    length: int = 1
    override: str | None = None

    def lines(self) -> Iterator[str]:
        """file:line:column and the line with a caret."""
        if self.override:
            yield f"  {paint('-->', 'blue')} --set {masked(self.override)}"
        elif self.file and self.line:
            bar, number = paint("|", "blue"), str(self.line)
            before, marked = self.source[: self.column - 1], self.source[self.column - 1 :][: self.length]
            space = "".join("\t" if c == "\t" else " " * width(c) for c in before)
            caret = "^" * max(1, sum(map(width, marked)))
            yield f"  {paint('-->', 'blue')} {relative(self.file)}:{self.line}:{self.column}"
            yield f" {number} {bar} {masked(self.source, same_length=True)}".rstrip()
            yield f" {' ' * len(number)} {bar} {space}{paint(caret, 'red')}"


def width(character: str) -> int:
    """Columns that a character takes in a terminal."""
    if category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def place(problem: Problem, e: ConfigError) -> Place:
    """Find where a mistake stands."""
    file = problem.file or e.file
    override = next((o for o in reversed(e.overrides) if problem.path[: len(keys := override_keys(o))] == keys), None)
    if override or not (file and file.is_file()):
        return Place(override=override)
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    line, column, length = problem.line, problem.column, problem.length
    if not line and problem.path:
        from kpipe.positions import find

        found = find(text, problem.path, problem.on)
        line, column, length = (found.line, found.column, found.length) if found else (0, 0, 1)
    source = dict(enumerate(text.split("\n"), 1)).get(line, "")  # TOML and Python count only these as line ends
    return Place(file, source, line, column, length)


def relative(path: Path) -> str:
    """A path as one would type it from here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
