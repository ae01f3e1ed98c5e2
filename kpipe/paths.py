"""Files and folders that parameters name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from kpipe.errors import Problem, listing, nearest
from kpipe.signature import Type
from kpipe.tomlfile import as_toml, shown

MOST = 1000  # how many neighbours are looked at for one that was meant


def path_problems(
    root: Path, store: Path, path: Path, type_: Type, name: str, value: str, at: tuple[str | int, ...]
) -> Iterator[Problem]:
    """The problem of a file or folder that is not there, with whatever else would be allowed, or that holds what it may not."""
    kinds = {leaf.kind for leaf in type_.leaves()} & {"file", "folder"}
    what = " or ".join(sorted(kinds))
    try:
        if value and ((path.is_dir() and "folder" in kinds) or (path.is_file() and "file" in kinds)):
            if path.is_dir():
                yield from islice(changing(root, store, path.resolve(), f"{name} = {shown(value)}", at), 1)
            return
        place = path if str(path).isprintable() else as_toml(str(path))
        state = (
            f"{what} {place} {f'is not a {what}' if path.exists() else 'does not exist'}" if value else f"this names no {what}"
        )
        beside = names_beside(path, value, kinds == {"folder"})
    except OSError as e:
        state, beside = f"{what} cannot be read: {e.strerror}", []
    names = [str(c) for leaf in type_.leaves() for c in leaf.choices]
    names += ["imagenet"] if any(leaf.kind == "pretrained" for leaf in type_.leaves()) else []
    near = nearest(value, [n for n in (*names, *beside) if n != value])
    also = f"; also allowed: {listing(names)}" if names else ""
    hint = f'did you mean "{near}"?' if near else f"paths are relative to the pipeline file{also}"
    yield Problem(f"{name} = {shown(value)}: {state}", at, hint=hint)


def changing(root: Path, store: Path, folder: Path, says: str, at: tuple[str | int, ...]) -> Iterator[Problem]:
    """The problems of a folder whose content every run changes."""
    for place, what, hint in (
        (root, "the pipeline file itself", "put the pictures into a folder of their own beside the pipeline file"),
        (store, "kpipe's store", f"KPIPE_STORE={store} names the store: let it name a folder beside this one"),
    ):
        if place.resolve().is_relative_to(folder):
            yield Problem(f"{says}: {what} lies in this folder, and every run changes what is in it", at, hint=hint)


def url_problem(name: str, value: str, says: str, at: tuple[str | int, ...]) -> Problem:
    """The problem of a URL that cannot be one of a source."""
    return Problem(
        f"{name} = {shown(value)}: {says}", at, hint="for example https://host/pets.zip, https://host/pets/, s3://bucket/pets"
    )


def names_beside(path: Path, value: str, folders: bool) -> list[str]:
    """What lies where a path should, written as the path is."""
    return [str(Path(value).parent / p.name) for p in islice(path.parent.glob("*"), MOST) if p.is_dir() or not folders]
