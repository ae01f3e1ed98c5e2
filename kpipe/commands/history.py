"""kpipe runs and kpipe diff: what was run when, and how two runs differ."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from kpipe import console, history
from kpipe.compare import Comparison, Metric, compare
from kpipe.console import table
from kpipe.errors import several
from kpipe.explain import Change
from kpipe.spec import Spec, load
from kpipe.store import Store
from kpipe.summary import WIDTH, fitting, head, listed, number, overrides

CHANGE = 48  # columns for a change; what is longer loses its middle
METRICS = 8  # metrics of an instance that has no headline


def runs(args: Namespace) -> int:
    """List the last runs, the last first."""
    spec, store = opened(args)
    found = list(islice(history.runs(store, spec.identity), args.limit))
    if args.json:
        console.result_json(plain(found))
    elif not found:
        console.say(f"{spec.name} has not run yet in {console.relative(store.root)}")
    else:
        for line in listed(found):
            console.result(line)
    return 0


def diff(args: Namespace) -> int:
    """Say how a run differs from an earlier one."""
    spec, store = opened(args)
    found = compare(store, history.find(store, spec.identity, args.a), history.find(store, spec.identity, args.b))
    if args.json:
        console.result_json(plain(as_json(found)))
    else:
        for line in ["no difference"] if found.equal else told(found):
            console.result(line)
    return 0


def opened(args: Namespace) -> tuple[Spec, Store]:
    """The pipeline, which may have mistakes: its past is readable all the same."""
    spec = load(Path(args.file))
    return spec, Store(spec.store)


def as_json(found: Comparison) -> dict[str, Any]:
    """Everything about two runs but their instances."""
    return {
        **{name: {k: v for k, v in run.items() if k != "instances"} for name, run in (("old", found.old), ("new", found.new))},
        "only_old": found.only_old,
        "only_new": found.only_new,
        "changes": [{"instance": id_, **change.as_json()} for id_, changes in found.changes.items() for change in changes],
        "metrics": [row.as_json() for row in found.metrics],
        "gone": [{"instance": id_, "run": run} for id_, run in found.gone],
    }


def plain(value: Any) -> Any:
    """The same without nan and infinity, which JSON does not know: null."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)


def told(found: Comparison) -> Iterator[str]:
    """The two runs, then what was changed, then what came of it."""
    (old, started, _, *backend), (new, began, _, *other) = head(found.old), head(found.new)
    pair = (("old", old, started, *backend), found.old), (("new", new, began, *other), found.new)
    yield from table([[*cells, "  ".join(overrides(run))] for cells, run in pair])
    for title, rows in (
        (["change", "in"], changed(found)),
        (["instance", "metric", "old", "new", "change", ""], measured(found)),
    ):
        if rows:
            yield ""
            yield from table([title, *rows])
    unseen = len(found.metrics) - sum(len(rows) for rows in shown(found).values())
    if unseen:
        yield f"other metrics that changed: {unseen} (--json tells them)"
    if found.gone:
        gone = [f"{id_} ({'old' if run == found.old['run'] else 'new'})" for id_, run in found.gone]
        yield f"the artifact is gone, so from the history, which has the headline only: {several(gone)}"


def changed(found: Comparison) -> list[list[str]]:
    """Every change and the instances it is in; what follows from a change upstream stands last."""
    rows: dict[str, list[str]] = {}
    follows = []
    for id_, changes in found.changes.items():
        own = [change for change in changes if not consequence(change)]
        for change in own:
            rows.setdefault(words(change), []).append(id_)
        follows += [] if own else [id_]
    rows |= {"only in old": [*found.only_old], "only in new": [*found.only_new], "only its inputs": follows}
    texts = {text: shortened(text) for text, ids in rows.items() if ids}
    room = WIDTH - 2 - max(map(len, texts.values()), default=0)
    return [[short, fitting(rows[text], room)] for text, short in texts.items()]


def words(change: Change) -> str:
    """A change as plan and explain say it; those that only two runs can have."""
    if change.kind == "status":
        return f"{change.old} -> {change.new}"
    return {"key": "another key (it has no record to compare)", "output": "another output of the same key"}.get(
        change.kind, str(change)
    )


def consequence(change: Change) -> bool:
    """Whether it follows from what is changed upstream."""
    return change.about_input and change.name != "order"


def shortened(text: str) -> str:
    """A text without its middle where it is long."""
    half = CHANGE // 2 - 2
    return text if len(text) <= CHANGE else f"{text[:half].rstrip()} .. {text[-half:].lstrip()}"


def shown(found: Comparison) -> dict[str, list[Metric]]:
    """The headline of every instance; where it has none, its first metrics."""
    rows = {id_: list(own) for id_, own in groupby(found.metrics, lambda row: row.instance)}
    return {id_: [row for row in own if row.headline] or own[:METRICS] for id_, own in rows.items()}


def measured(found: Comparison) -> list[list[str]]:
    """A row for every metric that is shown; an instance is named once."""
    verdict = {True: "better", False: "worse", None: ""}
    return [
        ["" if place else id_, row.name, number(row.old), number(row.new), signed(row.change), verdict[row.better]]
        for id_, rows in shown(found).items()
        for place, row in enumerate(rows)
    ]


def signed(change: float | None) -> str:
    """How much a metric rose or fell."""
    if change is None:
        return ""
    return "same" if change == 0 else f"{change:+d}" if isinstance(change, int) else f"{change:+.3g}"
