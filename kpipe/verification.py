"""Everything in a store, read and held against what was stored; what is damaged is set aside, to be made again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

from kpipe import sealed
from kpipe.copies import content
from kpipe.digest import digest_file, digest_value
from kpipe.files import locked, move_aside, read_json, try_lock
from kpipe.store import Store


@dataclass(frozen=True)
class Damage:
    """Something that is not what was stored."""

    what: str  # "artifact of fit[a]", "memo activations", ...
    path: Path
    fault: str


def verify(store: Store) -> tuple[int, list[Damage]]:
    """How many things were checked, and the damaged ones, which are set aside."""
    with store.using(), ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing releases the interpreter lock
        checks = [
            *files(store, "records", "record", lambda path: store.record(path.stem) is not None),
            *objects(store),
            *memos(store),
            *copies(store),
            *files(store, "code", "code closure", lambda path: digest_value(read_json(path)) == path.stem),
        ]
        found = [damage for damage in pool.map(lambda check: check(), checks) if damage]
    return len(checks), found


Check = Callable[[], Damage | None]


def files(store: Store, folder: str, what: str, whole: Callable[[Path], bool]) -> Iterator[Check]:
    """JSON files that are not whole."""

    def check(path: Path) -> Damage | None:
        if whole(path) or not move_aside(path, store.root / "quarantine"):
            return None
        return Damage(what, path, "it is not what was written")

    yield from (partial(check, path) for path in (store.root / folder).glob("*.json"))


def objects(store: Store) -> Iterator[Check]:
    """Artifacts whose folder or manifest is not what was stored."""
    names: dict[str, list[str]] = {}
    for path in sorted((store.root / "records").glob("*.json")):
        record = store.record(path.stem)
        if record:
            names.setdefault(str(record["output_digest"]), []).append(str(record["instance"]))

    def check(digest: str) -> Damage | None:
        place = store.object(digest)
        if sealed.fault(place, contents=True) is None and named(place):
            return None
        with locked(store.root / "objects.lock"):  # not while another process is moving it in
            fault = sealed.put_right(place, store.root / "quarantine")
            if not named(place):
                fault = fault or "its manifest is not what was written"
                sealed.set_aside(place, store.root / "quarantine")
        return Damage(f"artifact of {' and '.join(names.get(digest, ['no record']))}", place, fault) if fault else None

    digests = {path.stem for path in (store.root / "objects").glob("*.json")} | names.keys()
    yield from (partial(check, digest) for digest in sorted(digests))


def named(place: Path) -> bool:
    """Whether an object is not there at all, or its manifest is the one that its name tells."""
    held = read_json(place.with_suffix(".json"))
    return held is None or (isinstance(held, dict) and sealed.content_digest(held) == place.name)


def memos(store: Store) -> Iterator[Check]:
    """Parts of stage.memo."""

    def check(part: Path) -> Damage | None:
        with unless_used(part.parent, threads[part.parent]) as free:  # a stage that has it checked it when it opened it
            committed = free and part.with_suffix(".json").exists()
            fault = sealed.put_right(part, part.parent / "quarantine") if committed else None
        return Damage(f"memo {part.parent.parent.name}", part, fault) if fault else None

    parts = [path.with_suffix("") for path in sorted((store.root / "memo").glob("*/*/*.json"))]
    threads = {part.parent: Lock() for part in parts}
    yield from (partial(check, part) for part in parts)


def copies(store: Store) -> Iterator[Check]:
    """Copies of files behind URLs, whose names tell their content."""

    def check(copy: Path) -> Damage | None:
        with unless_used(copy.parent, threads[copy.parent]) as free:  # a stage that has it checked it when it took it
            if not free or not copy.exists() or digest_file(copy) == content(copy):
                return None
            if not move_aside(copy, store.root / "quarantine"):
                return None
        return Damage("copy of a file behind a URL", copy, "it has other content than was stored")

    found = sorted((store.root / "memo" / "remote").glob("*/*.*"))
    threads = {copy.parent: Lock() for copy in found}
    yield from (partial(check, copy) for copy in found)


@contextmanager
def unless_used(folder: Path, threads: Lock) -> Iterator[bool]:
    """Have a folder unless another process has it: whether that is so. This one's threads wait for each other (`threads`)."""
    with threads:
        lock = try_lock(folder / "lock")
        with lock or nullcontext():
            yield lock is not None
