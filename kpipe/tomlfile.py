"""A TOML file's values: read, overridden by --set, and held against the keys that are known."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any

from kpipe.errors import ConfigError, Problem, listing, nearest
from kpipe.ranges import LARGE, LARGEST, too_large
from kpipe.urls import masked

WORDS = {str: "a string", list: "a list", bool: "true or false", dict: "a table", int: "a whole number"}
BARE = re.compile(r"[A-Za-z0-9_-]+")  # a key that needs no quotes
TABLES = ("pipeline", "matrix", "stages", "params", "resources")  # tables that --set may add to a file


def read_toml(file: Path) -> dict[str, Any]:
    """The file's values; a syntax error keeps its line and column."""
    text = read_text(file)
    try:
        table = tomllib.loads(text)
        problems = [Problem(LARGE, at, hint=LARGEST) for at in too_large(table)]
    except RecursionError:
        raise ConfigError(f"{file}: its lists or tables are nested too deep") from None
    except ValueError as e:  # TOMLDecodeError, or a number of too many digits
        from kpipe.syntax import problem

        raise ConfigError([problem(text, str(e))], file=file) from None
    if problems:
        raise ConfigError(problems, file=file)
    return table


def read_text(file: Path) -> str:
    """The file's text, without the byte order mark that some editors put before it."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        near = nearest(file.name, (p.name for p in file.parent.glob("*.toml")))
        hint = f"did you mean {file.with_name(near)}?" if near else "kpipe run FILE; FILE is pipeline.toml where left out"
        raise ConfigError(f"there is no pipeline file {file}", hint=hint) from None
    except IsADirectoryError:
        inside = file / "pipeline.toml"
        hint = f"kpipe run {inside if inside.is_file() else 'FILE; FILE is pipeline.toml where left out'}"
        raise ConfigError(f"{file} is a folder, not a pipeline file", hint=hint) from None
    except OSError as e:
        raise ConfigError(f"{file} cannot be read: {e.strerror}") from None
    except UnicodeDecodeError as e:
        before = e.object[: e.start].decode().replace("\r\n", "\n")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        says = f"byte 0x{e.object[e.start]:02x} is not UTF-8"
        raise ConfigError([Problem(says, hint="save the file as UTF-8", line=line, column=column)], file=file) from None


def apply_overrides(table: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The table with every --set KEY=VALUE put in; VALUE is TOML, or a plain string where it is not."""
    for override in overrides:
        keys, (_, equals, text) = override_keys(override), override.partition("=")
        if not equals or not all(keys):
            raise ConfigError(f"--set {override}: not of the form KEY=VALUE", hint="--set stages.train.params.epochs=3")
        value = override_value(".".join(keys), text)
        place = table
        for i, key in enumerate(keys[:-1]):
            if key not in place and (key not in TABLES or place is table.get("stages")):
                above = "".join(f"{k}." for k in keys[:i])
                near = nearest(key, (k for k, v in place.items() if isinstance(v, dict)))
                hint = f"did you mean {above}{near}?" if near else f"tables: {listing(above + k for k in place)}"
                raise ConfigError(f"--set {override}: there is no table {above}{key}", hint=hint)
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {override}: {key} is no table", hint=f"its value is {shown(place)}")
        place[keys[-1]] = value
    return table


def override_value(key: str, text: str) -> Any:
    """The value of a --set KEY=VALUE."""
    try:
        (_, value), *more = tomllib.loads(f"v = {text}").items()
        large = too_large(value)
    except (ValueError, RecursionError):
        return text
    if more:
        raise ConfigError(f"--set {key}: behind its value stands {more[0][0]}", hint="a --set for each key")
    if large:
        raise ConfigError(f"--set {key}: {LARGE}", hint=LARGEST)
    return value


def override_keys(override: str) -> tuple[str, ...]:
    """Where a --set KEY=VALUE puts its value."""
    return tuple(override.partition("=")[0].strip().split("."))


def section(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A sub-table, empty where it is missing or of another type (which check_keys reports)."""
    found = table.get(name, {})
    return found if isinstance(found, dict) else {}


def check_keys(table: Mapping[str, Any], known: Mapping[str, type], at: tuple[str | int, ...], problems: list[Problem]) -> None:
    """Report unknown keys and values of the wrong type."""
    for key, value in table.items():
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {near}?" if near else f"allowed here: {listing(known)}"
            problems.append(Problem(f"unknown key {key}", (*at, key), on="key", hint=hint))
        elif not isinstance(value, known[key]) or (isinstance(value, bool) and known[key] is int):
            tip = f"{key} = [{shown(value)}]" if known[key] is list and isinstance(value, str) else None
            problems.append(Problem(f"{key} must be {WORDS[known[key]]}, not {shown(value)}", (*at, key), hint=tip))


def shown(value: Any, most: int = 60) -> str:
    """A value as it stands in a TOML file, cut off where it is long, without the secrets of URLs."""
    text = masked(as_toml(value))
    return text if len(text) <= most else f"{text[: most - 3]}..."


def as_toml(value: Any) -> str:
    """A value as it stands in a TOML file; TypeError where TOML has no such value."""
    match value:
        case bool():
            return str(value).lower()
        case str() | Path():
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(map(as_toml, value))}]"
        case dict():
            rows = (f"{k if BARE.fullmatch(k) else as_toml(k)} = {as_toml(v)}" for k, v in value.items())
            return f"{{ {', '.join(rows)} }}" if value else "{}"
        case int() | float() | date() | time():
            return str(value)
        case _:
            raise TypeError(f"a {type(value).__name__} cannot be a parameter: {value!r}")
