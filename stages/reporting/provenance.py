"""Where a report's numbers come from: settings, versions, hardware, and how each artifact came to be."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from stages.reporting.results import NEEDS, Result
from stages.reporting.wording import listing, memory

UNSET = "not set"  # TOML has no word for it: the parameter is left out


@dataclass
class Setting:
    """One parameter of a stage, or one version: each value with the numbers of the branches that have it."""

    group: str
    name: str
    values: dict[str, list[int]] = field(default_factory=dict)

    @property
    def shared(self) -> bool:
        """Whether all branches that have it agree."""
        return len(self.values) == 1


@dataclass
class Artifact:
    """One artifact and the branches that used it."""

    stage: str
    branches: list[int]
    record: dict[str, Any]

    @property
    def inputs(self) -> dict[str, str]:
        """Content digests of what it was made from."""
        return dict((self.record.get("key") or {}).get("inputs") or {})


def settings(results: list[Result]) -> list[Setting]:
    """Every resolved parameter of every stage."""
    return _collect(
        (result, stage, name, as_toml(value))
        for result in results
        for stage in NEEDS
        for name, value in (result.key(stage).get("params") or {}).items()
    )


def by_stage(collected: list[Setting]) -> dict[str, list[Setting]]:
    """Settings of each stage, stages in their order."""
    return {stage: own for stage in NEEDS if (own := [setting for setting in collected if setting.group == stage])}


def versions(results: list[Result]) -> list[Setting]:
    """Python and the packages whose versions entered the keys."""
    return _collect(
        (result, "", name, version)
        for result in results
        for stage in NEEDS
        for name, version in _packages(result.key(stage)).items()
    )


def _packages(key: dict[str, Any]) -> dict[str, str]:
    python = {"python": key["python"]} if "python" in key else {}
    return python | (key.get("packages") or {}) | ((key.get("keras") or {}).get("packages") or {})


def made(artifact: Artifact) -> str:
    """`2026-01-02 03:04 UTC`."""
    created = artifact.record.get("created")
    return f"{datetime.fromisoformat(created).astimezone(UTC):%Y-%m-%d %H:%M} UTC" if created else ""


def hardware(results: list[Result]) -> list[Setting]:
    """Machine and device that each branch was trained on."""
    return _collect((result, "", name, text) for result in results for name, text in _machine(result).items())


def _machine(result: Result) -> dict[str, str]:
    host = result.record("train").get("host") or {}
    keras = result.key("train").get("keras") or {}
    texts = {
        "trained on": result.measure("train", "device") or keras.get("device"),
        "processor": host.get("cpu"),
        "cores": host.get("cores"),
        "memory": memory(host["memory_bytes"]) if host.get("memory_bytes") else None,
        "GPU": ", ".join(host.get("gpu") or []) or "none",
        "precision": keras.get("floatx"),
    }
    return {name: str(text) for name, text in texts.items() if text} if host or keras else {}


def artifacts(results: list[Result]) -> list[Artifact]:
    """Each artifact once, in the order of the stages, with the branches that it served."""
    found: dict[tuple[str, str], Artifact] = {}
    for stage in NEEDS:
        for result in results:
            record = result.record(stage)
            if record:
                identity = (stage, record.get("key_digest", str(result.number)))
                found.setdefault(identity, Artifact(stage, [], record)).branches.append(result.number)
    return list(found.values())


def notices(results: list[Result]) -> list[Setting]:
    """What the stages said was skipped or substituted, each sentence once."""
    return _collect(
        (result, stage, "", text) for result in results for stage in NEEDS for text in result.record(stage).get("notices") or []
    )


def runs(results: list[Result]) -> dict[str, list[int]]:
    """The numbers of the branches that each run has; empty where a run reports on itself."""
    found: dict[str, list[int]] = {}
    for result in results:
        for run in result.branch.runs:
            found.setdefault(run, []).append(result.number)
    return found


def commits(results: list[Result]) -> list[str]:
    """The git commits that the artifacts were made at."""
    return _once(str(result.record(stage)["git"]) for result in results for stage in NEEDS if result.record(stage).get("git"))


def numbers(branches: list[int], total: int) -> str:
    """`all branches`, `branch 1`, `branches 2, 5 and 7`: which of a report's branches, by number."""
    if len(branches) == total:
        return "all branches" if total > 1 else "the only branch"
    return f"{'branch' if len(branches) == 1 else 'branches'} {listing([str(number) for number in branches])}"


def _collect(rows: Iterable[tuple[Result, str, str, str]]) -> list[Setting]:
    collected: dict[tuple[str, str], Setting] = {}
    for result, group, name, value in rows:
        setting = collected.setdefault((group, name), Setting(group, name))
        seen = setting.values.setdefault(value, [])
        if result.number not in seen:
            seen.append(result.number)
    return list(collected.values())


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def as_toml(value: Any) -> str:
    """A parameter's value the way TOML writes it."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {as_toml(part)}' for name, part in value.items())} }}" if value else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    return UNSET if value is None else json.dumps(value, ensure_ascii=False)
