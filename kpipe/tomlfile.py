"""A TOML file's values: read, overridden by --set, and held against the keys that are known."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kpipe.errors import ConfigError, Problem, listing, nearest

WORDS = {str: "a string", list: "a list", bool: "true or false", dict: "a table", int: "a whole number"}


def read_toml(file: Path) -> dict[str, Any]:
    """The file's values; a syntax error keeps its line and column."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"there is no pipeline file {file}", hint="kpipe run FILE; FILE is pipeline.toml where left out"
        ) from None
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{file} cannot be read: {e}") from None
    except tomllib.TOMLDecodeError as e:
        message, _, position = str(e).rpartition(" (at ")
        at = re.search(r"line (\d+), column (\d+)", position)
        last = file.read_text(encoding="utf-8").count("\n") + 1
        line, column = (int(at[1]), int(at[2])) if at else (last, 1)
        raise ConfigError([Problem(message or str(e), line=line, column=column)], file=file) from None


def apply_overrides(table: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The table with every --set KEY=VALUE put in; VALUE is TOML, or a plain string where it is not."""
    for override in overrides:
        keys, (_, equals, text) = override_keys(override), override.partition("=")
        if not equals or not all(keys):
            raise ConfigError(f"--set {override}: not of the form KEY=VALUE", hint="--set stages.train.params.epochs=3")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        place = table
        for key in keys[:-1]:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {override}: {key} is not a table")
        place[keys[-1]] = value
    return table


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
            problems.append(Problem(f"{key} must be {WORDS[known[key]]}, not {value!r}", (*at, key)))
