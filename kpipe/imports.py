"""How a worker imports the project: from the text as it is now, before anything installed, and anew for every task."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Collection, Mapping
from functools import lru_cache
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

from kpipe.errors import OtherCode
from kpipe.places import belongs
from kpipe.source import definitions

STRANGER = 'write an import statement, or annotate a parameter Module["package"] and call stage.module(name)'
EDITED = "nothing was committed; run again when no one edits"


class ProjectLoader(SourceFileLoader):
    """Imports project modules from their text alone, never from a .pyc (which is trusted by seconds), and remembers it."""

    loaded: dict[str, dict[str, str]] = {}  # noqa: RUF012 - one per process; file -> {definition: digest}
    root: str = ""  # one a task, as the code that its key names
    code: Mapping[str, Any] = {}

    def get_code(self, fullname: str) -> Any:
        """Compile the source as it is now; OtherCode where it is not what the key names."""
        path = self.get_filename(fullname)
        file = Path(os.path.relpath(path, self.root)).as_posix()
        code, self.loaded[file] = compiled(path, Path(path).read_bytes())
        refuse_other_code(self.code, {file: self.loaded[file]})
        return code


def refuse_other_code(code: Mapping[str, Any], loaded: Mapping[str, Any]) -> None:
    """OtherCode where project files were imported that are not in a key's code, or with another meaning than there."""
    strangers = [file for file in loaded if file not in code]
    if strangers:
        says = f"it imports {', '.join(strangers)}, which no import statement of its code names: a change there would not be seen"
        raise OtherCode(says, hint=STRANGER)
    edited = [f"{file} (imported text)" for file, meaning in loaded.items() if meaning != code[file]]
    if edited:
        raise OtherCode(f"changed while it ran: {', '.join(edited)}", hint=EDITED)


@lru_cache(maxsize=1024)
def compiled(path: str, source: bytes) -> tuple[CodeType, dict[str, str]]:
    """The code of a text, and what it defines: a task that imports what one before it did has only to run it."""
    tree = ast.parse(source, filename=path)
    return compile(source, path, "exec", dont_inherit=True), definitions(tree)  # a tree would have to be shallower


class ProjectFolders:
    """Finds the project's folders of modules first: without an __init__.py they would lose to any package of that name."""

    names: Collection[str] = ()  # one a task

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """A folder with Python files and no __init__.py, right below the project's."""
        folder = self.root / name
        if (
            path is not None
            or name not in self.names
            or (folder / "__init__.py").exists()
            or next(folder.glob("*.py"), None) is None
        ):
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        return spec


def import_from(root: str, code: Mapping[str, Any]) -> None:
    """Put the project first on sys.path, its modules imported through ProjectLoader; folders of `code` before any package."""

    def finder(path: str) -> FileFinder:
        if not belongs(Path(path), Path(root)):
            raise ImportError
        return FileFinder(path, (ProjectLoader, [".py"]))

    if not any(isinstance(f, ProjectFolders) and f.root == Path(root) for f in sys.meta_path):
        sys.meta_path.insert(0, ProjectFolders(root))
        sys.path_hooks.insert(0, finder)
        sys.path_importer_cache.clear()
    sys.path.insert(0, root)
    ProjectFolders.names = {file.partition("/")[0] for file in code}
    ProjectLoader.root, ProjectLoader.code = root, code


def forget_project(root: str) -> None:
    """Import the project's modules anew: what one of them remembers must not reach the next stage."""
    for name, module in list(sys.modules.items()):
        folders = [] if getattr(module, "__file__", None) else [str(path) for path in getattr(module, "__path__", ())]
        ours = any(path != root and belongs(Path(path), Path(root)) for path in folders)
        if ours or isinstance(getattr(module, "__loader__", None), ProjectLoader):
            del sys.modules[name]
    ProjectLoader.loaded.clear()
