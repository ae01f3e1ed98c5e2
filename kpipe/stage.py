"""The door between the engine and the stages: all that the two houses share. Standard library only."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kpipe.closure import Closure, Project
from kpipe.imports import refuse_other_code
from kpipe.memo import Memo, open_memo

__all__ = ["Branch", "File", "Folder", "Memo", "Module", "Pretrained", "Stage", "StageError"]

File = Path  # a parameter that names a file, relative to the pipeline file; its content enters the key
Folder = Path  # a parameter that names a folder; names and contents of all files below it enter the key
Pretrained = str  # the name of published weights ("imagenet") that the chosen backbone's module describes

if TYPE_CHECKING:
    from typing import Literal as Module
else:

    class Module(str):
        """Module["package"]: a parameter whose valid values are the modules on disk in that package."""

        def __class_getitem__(cls, package: str) -> type:
            return str


class StageError(Exception):
    """Something a person must mend (bad data, a wrong file): shown as a message and a hint, without a traceback."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Branch:
    """One combination of the matrix, as a gathered stage sees it."""

    axes: Mapping[str, Any]  # axis name -> value (the name of a table-valued one)
    inputs: Mapping[str, Path]  # need -> folder of its artifact; a need that failed is absent
    records: Mapping[str, dict[str, Any]] = field(default_factory=dict)  # need -> how that artifact came to be
    runs: tuple[str, ...] = ()  # the past runs that have it, where branches of past runs are gathered

    @property
    def label(self) -> str:
        """The branch's name: its axis values, "all" where the pipeline has no matrix."""
        return ",".join(str(v) for v in self.axes.values()) or "all"


class Stage:
    """What a stage's run() is given: its inputs, where its output goes, and what it may tell.

    `inputs[need]` is the folder of that need's artifact, read-only; `out` an empty folder whose content at the end is the
    artifact; `scratch` a folder that survives a crash of this same key; `branches` what a gathered stage sees instead of
    `inputs`; `records[need]` how an artifact came to be: key, versions, host, measures, notices; `urls[parameter]` what was
    downloaded for a File or Folder.
    """

    def __init__(
        self,
        *,
        out: Path,
        inputs: Mapping[str, Path] | None = None,
        scratch: Path | None = None,
        store: Path | None = None,
        branches: Sequence[Branch] = (),
        records: Mapping[str, dict[str, Any]] | None = None,
        modules: Mapping[str, str] | None = None,
        urls: Mapping[str, str] | None = None,
        root: Path | None = None,
        code: Mapping[str, Any] | None = None,
        emit: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.out = out
        self.inputs: Mapping[str, Path] = inputs or {}
        self.scratch = scratch or out.parent / "scratch"
        self.branches = list(branches)
        self.records: Mapping[str, dict[str, Any]] = records or {}
        self.urls: Mapping[str, str] = urls or {}
        self.notices: list[str] = []
        self.measures: dict[str, Any] = {}
        self._store = store or out.parent / "store"
        self._modules = modules or {}
        self._root = root
        self._code = code
        self._emit = emit or (lambda event: None)
        self.out.mkdir(parents=True, exist_ok=True)
        self.scratch.mkdir(parents=True, exist_ok=True)

    def memo(self, name: str, **content: Any) -> AbstractContextManager[Memo]:
        """Hold folders that are reused across keys, identified by `content` and the calling module's code closure.

        Values are plain data or a Path (its file's content counts). While one process holds a memo, others wait.
        """
        caller = sys._getframe(1).f_globals
        return self._memo(name, content, self._closure(caller["__name__"], Path(caller["__file__"]).absolute()))

    def _closure(self, module: str, file: Path) -> Closure:
        """The code of a module as it runs; an error where it cannot be known, or was edited since it was imported."""
        root = self._root or file.parents[module.count(".") + (file.name == "__init__.py")]
        closure = Project(root).closure(module)
        if not closure.code:
            raise StageError(f"a memo of {module}, which is no module of the project", hint=f"call stage.memo from one in {root}")
        if self._code is not None:
            refuse_other_code(self._code, closure.code)
        return closure

    @contextmanager
    def _memo(self, name: str, content: dict[str, Any], closure: Closure) -> Iterator[Memo]:
        with open_memo(self._store, name, content, closure, os.environ.get("KERAS_BACKEND")) as memo:
            for part in memo.quarantined:
                self.notice(f"stored {name} ({part}) was damaged: set aside and made again")
            yield memo

    def module(self, name: str) -> ModuleType:
        """The module that a parameter annotated Module[...] names."""
        from importlib import import_module

        return import_module(self._modules[name])

    def resource(self, name: str) -> Path:
        """A non-Python file beside the calling module; `name` must be a literal string."""
        return Path(sys._getframe(1).f_globals["__file__"]).parent / name

    def progress(self, done: float, total: float, **numbers: float | str) -> None:
        """How far the stage is, for the terminal: numbers are shown with their names, words as they are."""
        self._emit({"event": "progress", "done": done, "total": total, "numbers": numbers})

    def measure(self, **numbers: Any) -> None:
        """Timings, memory, the device's name: kept beside the artifact, outside its digest."""
        self.measures.update(numbers)
        self._emit({"event": "measure", "numbers": numbers})

    def notice(self, text: str) -> None:
        """Something a person must know (what was skipped or substituted): said now, and again on every cache hit."""
        self.notices.append(text)
        self._emit({"event": "notice", "text": text})
