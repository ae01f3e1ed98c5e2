"""kpipe predict."""

from __future__ import annotations

import csv
from argparse import Namespace
from pathlib import Path

from kpipe import console
from kpipe.errors import ConfigError
from kpipe.spec import Spec, load
from kpipe.store import Store
from kpipe.task import Event


def predict(args: Namespace) -> int:
    """Classify pictures with a model of the last run."""
    from kpipe.tools import use

    spec = sound(Path(args.file))
    missing = [path for path in args.paths if not Path(path).exists()]
    if missing:
        raise ConfigError(f"{missing[0]}: no such file or folder", hint="kpipe predict IMAGE|FOLDER ...")
    params = {"paths": args.paths, "model": args.model or ""}
    with use(spec, Store(spec.store), "stages.tools.predict", params, said) as folder:
        rows = read_csv(folder / "predictions.csv")
    if args.json:
        console.result_json([dict(zip(rows[0], row, strict=True)) for row in rows[1:]])
    else:
        for line in console.table(rows):
            console.result(line)
    return 0


def sound(file: Path) -> Spec:
    """The pipeline; ConfigError where it has mistakes."""
    spec = load(file)
    if spec.problems:
        raise ConfigError(spec.problems, file=spec.file, overrides=spec.overrides)
    return spec


def said(event: Event) -> None:
    """Pass on what a tool has to say."""
    if event.kind == "notice":
        console.notice(event.data["text"])


def read_csv(path: Path) -> list[list[str]]:
    """The rows of a CSV file, its header first."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))
