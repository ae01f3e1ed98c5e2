"""kpipe gc and kpipe verify."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from kpipe import console, garbage, verification
from kpipe.garbage import Item, Policy
from kpipe.spec import load
from kpipe.store import Store
from kpipe.units import size_text

MEANING = {
    "artifacts": "outputs of stages",
    "memo": "decoded files and activations",
    "logs": "what stages printed",
    "scratch": "left by stages that were killed",
    "compiled": "programs that JAX compiled",
    "quarantine": "set aside as damaged",
}


def gc(args: Namespace) -> int:
    """Say what the store may lose, and remove it where that is asked for."""
    store = Store(load(Path(args.file)).store)
    policy = Policy(args.keep_runs, args.older_than, args.max_size)
    free, kept = garbage.collect(store, policy) if args.delete else garbage.find(store, policy)
    if args.json:
        console.result_json({"deleted": args.delete, "items": [as_json(i) for i in free], "kept": len(kept)})
        return 0
    for line in told(free):
        console.result(line)
    total = size_text(sum(item.size for item in free))
    kept_total = size_text(sum(item.size for item in kept))
    console.result(f"{'removed' if args.delete else 'could go:'} {total}; {kept_total} stay in {console.relative(store.root)}")
    if free and not args.delete:
        console.say("nothing was removed; kpipe gc --delete removes it")
    return 0


def told(items: Iterable[Item]) -> list[str]:
    """A line for each kind of thing."""
    rows = []
    for kind, meaning in MEANING.items():
        own = [item for item in items if item.kind == kind]
        if own:
            rows.append([kind, str(len(own)), size_text(sum(item.size for item in own)), meaning])
    return console.table(rows)


def as_json(item: Item) -> dict[str, object]:
    """An item as plain data."""
    return {"kind": item.kind, "name": item.name, "bytes": item.size, "used": item.used}


def verify(args: Namespace) -> int:
    """Read everything in the store and hold it against what was stored."""
    store = Store(load(Path(args.file)).store)
    checked, damaged = verification.verify(store)
    if args.json:
        rows = [{"what": d.what, "path": str(d.path), "fault": d.fault} for d in damaged]
        console.result_json({"checked": checked, "damaged": rows})
    else:
        for damage in damaged:
            console.result(f"{damage.what}: {damage.fault}: set aside")
        console.result(f"{checked - len(damaged)} of {checked} are as they were stored")
    if damaged:
        console.say("kpipe run makes again what is needed")
    return 1 if damaged else 0
