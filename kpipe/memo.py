"""stage.memo: verified, atomic folders that are reused across keys; a second user waits while the first fills one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kpipe import sealed
from kpipe.closure import Closure
from kpipe.digest import digest_file, digest_value
from kpipe.errors import OtherCode
from kpipe.files import draft_folder, locked, read_json, write_json
from kpipe.identity import surroundings

SCHEMA = 1


class Memo:
    """Parts of one memo: folders that were committed whole and still have the content they were committed with."""

    def __init__(self, folder: Path, current: Callable[[], bool]) -> None:
        self._folder = folder
        self._current = current  # whether what the memo is made from is what it is known by
        self.quarantined: list[str] = []  # parts found damaged and set aside
        self.parts: list[Path] = [part for part in self._committed() if self._whole(part)]

    def _committed(self) -> Iterator[Path]:
        for manifest in sorted(self._folder.glob("*.json")):
            yield manifest.with_suffix("")

    def _whole(self, part: Path) -> bool:
        sealed.put_right(part, self._folder / "quarantine")
        if not part.is_dir():
            self.quarantined.append(part.name)
        return part.is_dir()

    @contextmanager
    def new_part(self) -> Iterator[Path]:
        """An empty folder that becomes the last part when the block ends without an error, and nothing otherwise."""
        draft = draft_folder(self._folder / "drafts")
        yield draft
        name = sealed.special(draft)
        if name:
            raise ValueError(f"a memo's part holds {name}, which is no file or folder")
        if not self._current():
            raise OtherCode("changed while it ran: a file that a memo is made from", hint="run again when no one edits")
        part = self._folder / f"{len(list(self._committed())):04d}-{secrets.token_hex(4)}"
        sealed.publish(draft, part, sealed.seal(draft), draft.parent)
        self.parts.append(part)


@contextmanager
def open_memo(store: Path, name: str, content: dict[str, Any], closure: Closure, backend: str | None) -> Iterator[Memo]:
    """Hold the memo with this name and content for the code that fills it."""
    key = {
        "schema": SCHEMA,
        "name": name,
        "content": resolved(content),
        "code": closure.code,
        **surroundings(closure.imports, backend if closure.uses_keras else None),
    }
    folder = store / "memo" / name / digest_value(key)
    with locked(folder / "lock"):
        discard_drafts(folder)
        if read_json(folder / "key") != key:
            (folder / "drafts").mkdir()
            write_json(folder / "key", key, folder / "drafts")
        os.utime(folder)  # the time of last use, for gc
        yield Memo(folder, lambda: resolved(content) == key["content"])


def discard_drafts(folder: Path) -> None:
    """Remove what a killed process left half-written; the lock is held, so nobody is writing."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != "quarantine" and not path.with_suffix(".json").exists():
            shutil.rmtree(path)


def resolved(value: Any) -> Any:
    """Content with every Path replaced by the digest of what it holds."""
    if isinstance(value, Path):
        return {"file": digest_file(value)}
    if isinstance(value, dict):
        return {k: resolved(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolved(v) for v in value]
    return value
