"""File-system primitives: atomic writes, durable folders, locks that die with their process."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def replacing(path: Path, drafts: Path | None = None) -> Iterator[IO[str]]:
    """A text file that takes the place of `path` when the block ends without an error; durable, and never half of it.

    `drafts` is a folder on the same file system that is swept of what a kill leaves; where left out, the file's own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = (drafts or path.parent) / f".{path.name}.{secrets.token_hex(4)}"
    try:
        with draft.open("w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    fsync(path.parent)


def write_json(path: Path, value: Any, drafts: Path | None = None) -> None:
    """Write JSON so that a reader sees the old text or the new one, also after a power cut."""
    with replacing(path, drafts) as file:
        json.dump(value, file, indent=1, sort_keys=True)


def read_json(path: Path) -> Any | None:
    """The JSON in a file, or None where it is missing or not whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def fsync(path: Path) -> None:
    """Make a file's content, or a folder's list of names, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in sorted order of its path."""
    return iter(sorted(p for p in folder.rglob("*") if not p.is_dir()))


def empty_folders(folder: Path) -> Iterator[Path]:
    """Every folder below a folder that holds nothing, in sorted order."""
    return (p for p in sorted(folder.rglob("*")) if p.is_dir() and not any(p.iterdir()))


def fsync_tree(folder: Path) -> None:
    """Make every file and folder below `folder` durable."""
    for path in [*folder.rglob("*"), folder]:
        fsync(path)


def own(folder: Path) -> None:
    """Give every file below a folder that has another name somewhere (a hard link) a content of its own."""
    for path in walk(folder):
        if path.stat().st_nlink > 1:
            draft = path.with_name(f".{secrets.token_hex(8)}")
            shutil.copyfile(path, draft)
            draft.replace(path)


def protect(folder: Path) -> None:
    """Take the write bits of every file below a folder (folders stay writable, so that it can be moved)."""
    for path in walk(folder):
        path.chmod(0o444)


def move_aside(path: Path, folder: Path) -> bool:
    """Move a file or folder into `folder` under a name nobody else uses; False where it is not there (any more)."""
    folder.mkdir(exist_ok=True)
    try:
        path.rename(folder / f"{path.stem}-{secrets.token_hex(4)}")
    except FileNotFoundError:
        return False
    return True


def draft_folder(parent: Path) -> Path:
    """A new empty folder with a name nobody else uses."""
    path = parent / secrets.token_hex(8)
    path.mkdir(parents=True)
    return path


def locked(path: Path) -> IO[str]:
    """An exclusive lock until the file returned is closed; waits. The kernel drops it when the process ends, however it ends."""
    return lock(path, fcntl.LOCK_EX)


def sharing(path: Path) -> IO[str]:
    """A lock that any number of processes can share; who takes it exclusively waits for all of them."""
    return lock(path, fcntl.LOCK_SH)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """An exclusive lock on a folder that is there, without a file for it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def try_lock(path: Path) -> IO[str] | None:
    """An exclusive lock that lasts until the file returned is closed (or the process ends); None where another has it."""
    try:
        return lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None


def lock(path: Path, kind: int) -> IO[str]:
    """Lock a file, created where it is missing; BlockingIOError where it is taken and `kind` does not wait."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("a")
        except FileNotFoundError:
            continue  # its folder was removed in this very moment
        try:
            fcntl.flock(file, kind)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass  # removed in this very moment: the lock that counts is on the next file of this name
        except BaseException:
            file.close()
            raise
        file.close()
