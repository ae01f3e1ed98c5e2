"""What is wrong with a text that is not TOML, in words for its author. Imported only when there is an error to show."""

from __future__ import annotations

import re

from kpipe.errors import Problem
from kpipe.positions import redefinition
from kpipe.ranges import LARGE, LARGEST

REDEFINED = r"Cannot (overwrite|declare|redefine|mutate)|Duplicate inline table key"
NAMES = "a name with anything but letters, digits, _ and - stands in quotes"
# what tomllib says, what stands at that place -> what to say of it, and a hint
MEANINGS: list[tuple[str, str, str, str | None]] = [
    (r"character '\\n'", r"", "the string is not closed on its line", '"..." on one line, """...""" over several'),
    (r"Unterminated string|Expected \"'", r"", "this string is not closed", '"..." on one line, """...""" over several'),
    (r"character '", r"", "TOML does not allow this control character", None),
    (
        r"Unescaped|Invalid hex|Escaped",
        r"",
        'in "..." a backslash must begin an escape',
        r"a path with /, or in single quotes: 'C:\photos'",
    ),
    (r"Invalid value.*end of", r"", "the file ends where a value should be", "key = value; a list ends with ]"),
    (r"Invalid value", r"\s*(#|$)", "the value is missing", "key = value"),
    (r"Invalid value", r"(True|False)\b", "{word} is not a value", "true and false are lower case"),
    (r"Invalid value", r"(None|null|nil)\b", "{word} is not a value", "leave out a key that has none"),
    (r"Invalid value", r"[-+]?\.\d", "{word} is not a value", "a digit stands before the point: 0.5"),
    (r"Invalid value", r"[^\W\d]|[./~$]", "{word} is not a value", 'a string stands in quotes: "{word}"'),
    (r"Invalid value", r"", "{word} is not a value", None),
    (r"Expected '='", r"\s*:", "expected = after the key, not :", "key = value"),
    (r"Expected '='", r"", "expected = after the key", f"key = value; {NAMES}"),
    (r"Expected '\]+' at the end", r"", "expected ] at the end of the table's header", f"[stages.NAME]; {NAMES}"),
    (r"Expected newline", r",\d", "nothing can follow the value", "the decimal sign is a point: 0.5"),
    (r"Expected newline", r"\d", "nothing can follow the value", "a number has no leading zero"),
    (r"Expected newline", r"", "nothing can follow here", "a line holds one key = value or one [table]"),
    (r"Unclosed array", r"", "the list is not closed, or a comma is missing", '["a", "b"]'),
    (r"Unclosed inline table", r"", "the table is not closed, or a comma is missing", "{ a = 1, b = 2 }"),
    (r"Invalid initial character", r"\]", "the header names no table", "[stages.NAME]"),
    (r"Invalid initial character", r"", "expected a key", "{ a = 1, b = 2 } stands on one line, with no comma at its end"),
    (r"Invalid statement", r"", "a line cannot begin like this", "key = value, [table] or # comment"),
]


def problem(text: str, said: str) -> Problem:
    """What tomllib said of a text as a Problem at its place."""
    message = said.rpartition(" (at ")[0]
    if not message:
        number = re.search(r"\d(_?\d){4000,}", text)  # so long that Python refuses to read it
        start, end = number.span() if number else (0, 1)
        line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
        return Problem(LARGE, hint=LARGEST, line=line, column=column, length=end - start)
    line, column = place(text, said)
    again = redefinition(text, line, column, message.startswith("Duplicate")) if re.match(REDEFINED, message) else None
    if again:
        name, position, first = again
        says, hint = f"{name} is defined twice, first in line {first}", "keep one of them"
        return Problem(says, hint=hint, line=position.line, column=position.column, length=position.length)
    rest = (text.split("\n")[line - 1 :] or [""])[0][column - 1 :]
    word = re.split(r"[\s,\]}#]", rest, maxsplit=1)[0] or rest[:1]
    for pattern, follows, says, advice in MEANINGS:
        if re.search(pattern, said) and re.match(follows, rest):
            length = len(word) if "{word}" in says else 1
            hint = (advice or "").replace("{word}", word)
            return Problem(says.replace("{word}", word), hint=hint or None, line=line, column=column, length=length)
    return Problem(message, line=line, column=column)


def place(text: str, said: str) -> tuple[int, int]:
    """Line and column that tomllib names; where that is the end of the text, its last sign or the quotes left open."""
    found = re.search(r"line (\d+), column (\d+)\)$", said)
    if found:
        return int(found[1]), int(found[2])
    quotes = re.match(r"Expected \"('+)", said)
    end = text.rfind(quotes[1]) if quotes else text.rfind('"""') if "string" in said else len(text.rstrip())
    return text.count("\n", 0, end) + 1, end - text.rfind("\n", 0, end)
