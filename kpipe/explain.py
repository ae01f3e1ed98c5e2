"""Why a key is another than before: the difference of two keys, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kpipe.digest import framed
from kpipe.source import ORDER
from kpipe.tomlfile import as_toml

MISSING = "(none)"


@dataclass(frozen=True)
class Change:
    """One difference: of what kind, of what, from what to what."""

    kind: str  # new, parameter, file, input, branch, code, package, python, backend, stage, schema, forced, damaged
    name: str
    old: Any = None
    new: Any = None

    def __str__(self) -> str:
        if self.kind in ("new", "forced", "damaged"):
            return self.name
        if self.kind in ("file", "input", "branch"):
            return f"{self.kind} {self.name} {verb(self.old, self.new)}"
        if self.kind == "code":
            return f"{self.name} {verb(self.old, self.new)}"
        return f"{self.name} {shown(self.old)} -> {shown(self.new)}"

    @property
    def about_input(self) -> bool:
        """Whether an upstream stage that runs may yet undo it: the same need, another content."""
        return self.kind in ("input", "branch") and self.old is not None and self.new is not None

    def as_json(self) -> dict[str, Any]:
        """The change as plain data."""
        return {"kind": self.kind, "name": self.name, "old": self.old, "new": self.new}


def verb(old: Any, new: Any) -> str:
    """added, removed or changed."""
    return "added" if old is None else "removed" if new is None else "changed"


def shown(value: Any) -> str:
    """A value as the pipeline file would write it."""
    if value is None:
        return MISSING
    if isinstance(value, (bool, list, dict)):
        return as_toml(value)
    return f'"{value}"' if isinstance(value, str) and not value.replace(".", "").isalnum() else str(value)


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """All differences between two keys given as JSON, each with its code closure instead of the closure's digest."""
    return tuple(_changes(old, new))


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    if old["schema"] != new["schema"]:  # the rest may have another form
        yield Change("schema", "kpipe's key schema", old["schema"], new["schema"])
        return
    for name in ("stage", "python"):
        if old[name] != new[name]:
            yield Change(name, name, old[name], new[name])
    yield from differences("parameter", old["params"], new["params"])
    yield from differences("file", old["files"], new["files"])
    yield from differences("input", old["inputs"], new["inputs"])
    yield from branch_changes(old["branches"], new["branches"])
    if old["python"] == new["python"]:  # digests of code that another Python parsed cannot be compared
        yield from code_changes(old["code"], new["code"])
    yield from differences("package", old["packages"], new["packages"])
    before, after = old["keras"] or {}, new["keras"] or {}
    yield from differences(
        "backend", {k: v for k, v in before.items() if k != "packages"}, {k: v for k, v in after.items() if k != "packages"}
    )
    yield from differences("package", before.get("packages", {}), after.get("packages", {}))


def differences(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Entries that two tables do not share."""
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new or framed(old[name]) != framed(new[name]):
            yield Change(kind, name, old.get(name), new.get(name))


def branch_changes(old: list[Any], new: list[Any]) -> Iterator[Change]:
    """Branches of a gathered stage that came, went, or have other inputs."""

    def by_label(branches: list[Any]) -> dict[str, Any]:
        return {",".join(str(value) for _axis, value in b["axes"]) or "all": b["inputs"] for b in branches}

    before, after = by_label(old), by_label(new)
    for change in differences("branch", before, after):
        if change.old is None or change.new is None:
            yield change
        else:
            needs = [c.name for c in differences("input", change.old, change.new)]
            yield Change("branch", f"{change.name} ({', '.join(needs)})", change.old, change.new)
    if before == after and list(before) != list(after):
        yield Change("branch", "order", list(before), list(after))


def code_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Files of the closure that changed, and in them the functions."""
    for change in differences("code", old, new):
        if isinstance(change.old, Mapping) and isinstance(change.new, Mapping):
            parts = list(differences("code", change.old, change.new))
            for part in [p for p in parts if p.name != ORDER] or parts:  # another order follows from what came or went
                yield Change("code", f"{change.name}: {part.name}", part.old, part.new)
        else:
            yield change
