"""What a store may lose: what the last runs did not use, found by age and size, and removed while others work."""

from __future__ import annotations

import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from pathlib import Path

from kpipe import history
from kpipe.files import locked, move_aside, read_json, try_lock
from kpipe.session import held
from kpipe.store import Store


@dataclass(frozen=True)
class Policy:
    """Which of the things that are not needed go."""

    keep_runs: int = 10  # of each pipeline: what these used stays
    older_than: float = 0.0  # seconds since the last use
    max_size: int | None = None  # bytes of the whole store: no more goes than must, longest unused first


@dataclass(frozen=True)
class Item:
    """Something that can be removed as a whole."""

    kind: str  # artifacts, memo, logs, scratch, compiled, quarantine
    name: str
    paths: tuple[Path, ...]  # removed in this order
    size: int
    used: float  # time of last use, seconds since 1970


@dataclass
class Use:
    """What the history tells: which keys and logs are needed, and when each was last used."""

    keys: dict[str, float] = field(default_factory=dict)
    needed_keys: set[str] = field(default_factory=set)
    needed_runs: set[str] = field(default_factory=set)
    since: float = 0.0  # when the oldest of the runs that count began


def uses(store: Store, keep_runs: int) -> Use:
    """Read the history."""
    use, began = Use(), [time.time()]
    seen: dict[str, int] = defaultdict(int)
    for run in history.runs(store):
        seen[run["identity"]] += 1
        ended = datetime.fromisoformat(run["ended"]).timestamp()
        needed = seen[run["identity"]] <= keep_runs
        if needed:
            use.needed_runs.add(run["run"])
            began.append(datetime.fromisoformat(run["started"]).timestamp())
        for entry in run["instances"].values():
            if entry["key"]:
                use.keys.setdefault(entry["key"], ended)
                if needed:
                    use.needed_keys.add(entry["key"])
    use.since = min(began)
    return use


def find(store: Store, policy: Policy) -> tuple[list[Item], list[Item]]:
    """What goes and what stays."""
    use = uses(store, policy.keep_runs)
    every = [*artifacts(store, use), *memos(store, use), *folders(store, use)]
    before = time.time() - policy.older_than
    free = sorted((item for item, needed in every if not needed and item.used <= before), key=lambda item: item.used)
    if policy.max_size is not None:
        over = sum(item.size for item, _ in every) - policy.max_size
        totals = accumulate((item.size for item in free), initial=0)
        free = free[: next((n for n, total in enumerate(totals) if total >= over), len(free))]
    names = {(item.kind, item.name) for item in free}
    return free, [item for item, _ in every if (item.kind, item.name) not in names]


def artifacts(store: Store, use: Use) -> Iterator[tuple[Item, bool]]:
    """Objects with the records that name them."""
    records: dict[str, list[Path]] = defaultdict(list)
    for path in sorted((store.root / "records").glob("*.json")):
        record = store.record(path.stem)
        records[str(record["output_digest"]) if record else ""].append(path)
    for folder in sorted((store.root / "objects").iterdir()):
        if not folder.is_dir():
            continue
        named = records.pop(folder.name, [])
        keys = [path.stem for path in named]
        used = max((use.keys.get(key, modified(path)) for key, path in zip(keys, named, strict=True)), default=modified(folder))
        paths = (*named, folder.with_suffix(".json"), folder)
        yield Item("artifacts", folder.name, paths, size(paths), used), not use.needed_keys.isdisjoint(keys)
    for path in [path for paths in records.values() for path in paths]:  # without an object, or not whole
        yield Item("artifacts", path.stem, (path,), size([path]), modified(path)), False


def memos(store: Store, use: Use) -> Iterator[tuple[Item, bool]]:
    """Folders of stage.memo; the time of one is that of its last use."""
    for folder in sorted((store.root / "memo").glob("*/*")):
        used = modified(folder)
        yield Item("memo", f"{folder.parent.name}/{folder.name}", (folder,), size([folder]), used), used >= use.since


def folders(store: Store, use: Use) -> Iterator[tuple[Item, bool]]:
    """Logs of runs, what killed stages left for resuming, compiled programs, and what was set aside as damaged."""
    for kind in ("logs", "scratch", "compiled", "quarantine"):
        for path in sorted((store.root / kind).glob("*")):
            recent = kind != "quarantine" and modified(path) >= use.since
            needed = path.name in use.needed_runs if kind == "logs" else recent
            yield Item(kind, path.name, (path,), size([path]), modified(path)), needed


def modified(path: Path) -> float:
    """When something was last changed; now, where a stage has just removed it."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def size(paths: Iterable[Path]) -> int:
    """Bytes of files and of all files below folders; what goes meanwhile counts nothing."""
    total = 0
    for path in paths:
        for folder, _, names in os.walk(path):
            for file in (os.path.join(folder, name) for name in names):
                with suppress(FileNotFoundError):
                    total += os.lstat(file).st_size
        with suppress(FileNotFoundError):
            total += 0 if path.is_dir() else path.lstat().st_size
    return total


def collect(store: Store, policy: Policy) -> tuple[list[Item], list[Item]]:
    """Remove what may go; what went and what stays. Nobody looks anything up between the look and the removal."""
    went: list[Item] = []
    stay: list[Item] = []
    trash = store.root / "trash"
    with locked(store.root / "trash.lock"):  # one gc at a time: it empties the trash, also what a killed one left
        with locked(store.root / "use.lock"):
            free, kept = find(store, policy)
            holds = held(store.root)
            for item in free:
                (went if item.name not in holds and removed(store, item, trash) else stay).append(item)
            remove_unnamed_code(store)
        shutil.rmtree(trash, ignore_errors=True)
    return went, [*kept, *stay]


def removed(store: Store, item: Item, trash: Path) -> bool:
    """Rename an item away, unless a process has the lock of a memo or computes the key of a scratch folder."""
    with ExitStack() as stack:
        if item.kind in ("memo", "scratch"):
            free = try_lock(item.paths[0] / "lock" if item.kind == "memo" else store.root / "locks" / item.name)
            if free is None:
                return False
            stack.enter_context(free)
        for path in item.paths:
            move_aside(path, trash)
    return True


def remove_unnamed_code(store: Store) -> None:
    """Code closures that no record names, and locks that nobody has."""
    named = {str((read_json(path) or {}).get("key", {}).get("code")) for path in (store.root / "records").glob("*.json")}
    for path in (store.root / "code").glob("*.json"):
        if path.stem not in named:
            path.unlink()
    for path in (store.root / "locks").glob("*"):
        free = try_lock(path)
        if free:
            path.unlink(missing_ok=True)
            free.close()
