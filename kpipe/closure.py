"""The code closure of a stage: its module and every project module it imports, transitively, and their resources."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kpipe.digest import digest_file, digest_value
from kpipe.errors import ConfigError, Problem, nearest
from kpipe.places import paths_below
from kpipe.source import Facts, facts
from kpipe.statcache import StatCache

ENGINE = "kpipe"  # the door's version enters the key as its schema, not as code
TEXT = " (text)"  # after the name of a resource that may be a module as well


@dataclass(frozen=True)
class Closure:
    """Everything of the project that decides what a module does."""

    code: dict[str, Any] = field(default_factory=dict)  # file -> {definition: digest}, or a resource's digest
    imports: frozenset[str] = frozenset()  # top-level names from outside the project

    @cached_property
    def digest(self) -> str:
        """Digest of the code."""
        return digest_value(self.code)

    @property
    def uses_keras(self) -> bool:
        """Whether the backend matters to this code."""
        return "keras" in self.imports


class Project:
    """The folder of a pipeline file, read as source text at one moment."""

    def __init__(self, root: Path, cache: StatCache | None = None) -> None:
        self.root = root
        self.cache = cache or StatCache()
        self.places = [root, *paths_below(root)]
        self._paths: dict[str, Path | None] = {}

    def facts(self, module: str) -> Facts:
        """Facts of a project module; ConfigError where its text is not Python or does what a stage may not."""
        path = self.path(module)
        if path is None:
            raise ConfigError(f"no module {module} below {self.root}")
        try:
            found = facts(path, self.cache)
        except SyntaxError as e:
            raise ConfigError([Problem(f"{e.msg}", file=path, line=e.lineno or 1, column=e.offset or 1)]) from None
        except ValueError as e:  # Python 3.11 of null bytes
            raise ConfigError([Problem(f"{e}", file=path, line=1, column=1)]) from None
        if found["refused"]:
            raise ConfigError(
                [
                    Problem(
                        f"{message}: a stage's code must be readable from its text",
                        hint=hint,
                        file=path,
                        line=line,
                        column=column,
                        length=length,
                    )
                    for line, column, length, message, hint in found["refused"]
                ]
            )
        return found

    def path(self, module: str) -> Path | None:
        """The file of a dotted module name in this project, or None where it is not the project's; looked for once."""
        if module not in self._paths:
            bases = [place.joinpath(*module.split(".")) for place in self.places]
            files = [(base / "__init__.py", base.with_name(f"{base.name}.py")) for base in bases]  # in Python's order
            candidates = (path for pair in files for path in pair)
            self._paths[module] = next((path for path in candidates if path.is_file()), None)
        return self._paths[module]

    def modules(self, package: str) -> list[str]:
        """Names of the modules in a package's folder: the files on disk."""
        folder = self.root.joinpath(*package.split("."))
        return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))

    def closure(self, module: str, also: Iterable[str] = ()) -> Closure:
        """Closure of a module and of further modules named by Module parameters."""
        code: dict[str, Any] = {}
        outside: set[str] = set()
        todo, seen = [module, *also], set()
        while todo:
            name = todo.pop()
            path = self.path(name)
            todo += [parent for parent in parents(name) if parent not in seen]
            if name in seen or path is None:
                continue
            seen.add(name)
            found = self.facts(name)
            code[path.relative_to(self.root).as_posix()] = found["definitions"]
            code.update(self._resources(path, found))
            for target in self._imported(found):
                top = target.split(".")[0]
                if self._is_ours(target):
                    todo.append(target)
                elif top not in sys.stdlib_module_names and top != ENGINE:
                    outside.add(top)
        return Closure(code, frozenset(outside))

    def _is_ours(self, module: str) -> bool:
        top = module.split(".")[0]
        return top != ENGINE and (self.path(top) is not None or self.path(module) is not None)

    def _imported(self, found: Facts) -> Iterator[str]:
        """Dotted names a file imports; `from package import module` names the module."""
        for name, names, _line in found["imports"]:
            if "*" in names:
                names = self._inside(name)  # its __all__ may name any of them
            ours = [f"{name}.{n}" for n in names if self.path(f"{name}.{n}")]
            yield from ours
            if not ours or self.path(name):  # a folder without __init__.py has no code of its own
                yield name

    def _inside(self, package: str) -> list[str]:
        """Everything that may be a module or a package in a package's folder."""
        path = self.path(package)
        found = {p.stem for p in path.parent.iterdir()} if path and path.name == "__init__.py" else set()
        return sorted(name for name in found if name.isidentifier() and not name.startswith("__"))

    def _resources(self, path: Path, found: Facts) -> Iterator[tuple[str, str]]:
        for name, line, column, length in found["resources"]:
            resource = path.parent / name
            inside = os.path.normpath(path.parent.relative_to(self.root) / name)
            if not resource.is_file() or inside.startswith(os.pardir) or os.path.isabs(inside):
                near = nearest(name, (p.name for p in path.parent.iterdir() if p.is_file()))
                hint = f'did you mean "{near}"?' if near else f"a file of the project, relative to {path.name}"
                says = f'resource "{name}" does not exist beside {path.name}'
                raise ConfigError([Problem(says, hint=hint, file=path, line=line, column=column, length=length)])
            name = Path(inside).as_posix() + (TEXT if resource.suffix == ".py" else "")
            yield name, digest_file(resource, self.cache)


def resources(code: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of a closure's code the names of resources, and their files."""
    return ((name, name.removesuffix(TEXT)) for name, digest in code.items() if isinstance(digest, str))


def parents(module: str) -> list[str]:
    """a.b.c -> a, a.b."""
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]
