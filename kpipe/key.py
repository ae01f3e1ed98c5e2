"""The whole cache key of a stage instance, on one screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from kpipe.digest import digest_value

SCHEMA = 3  # raised when the engine or the door changes what a stage may see


@dataclass(frozen=True)
class Key:
    """Everything that decides what an artifact contains. Equal keys, equal artifacts."""

    stage: str  # dotted path of the module
    params: Mapping[str, Any]  # every parameter, defaults filled in
    files: Mapping[str, str]  # File, Folder and pretrained parameters -> digest of their content
    inputs: Mapping[str, str]  # need -> digest of its artifact
    branches: tuple[Mapping[str, Any], ...]  # gathered: {"axes": [[axis, value]...], "inputs": {need: digest}} a branch
    code: str  # digest of the code closure; the store keeps what stands behind it
    python: str
    packages: Mapping[str, str]  # distributions that the closure imports -> version
    keras: Mapping[str, Any] | None  # backend, its versions, float and data format, kind of device
    schema: int = field(default=SCHEMA)

    def as_json(self) -> dict[str, Any]:
        """The key as plain data; `digest` is taken of exactly this."""
        return {part.name: getattr(self, part.name) for part in fields(self)} | {"branches": list(self.branches)}

    @cached_property
    def digest(self) -> str:
        """The key's name in the store."""
        return digest_value(self.as_json())
