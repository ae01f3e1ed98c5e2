"""kpipe dag and kpipe logs."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from kpipe import console
from kpipe.commands.prepare import prepare
from kpipe.drawing import FORMATS


def show_dag(args: Namespace) -> int:
    """Draw the DAG."""
    console.result(FORMATS[args.format](prepare(args).dag))
    return 0


def logs(args: Namespace) -> int:
    """Print what a stage's code printed when it last ran."""
    pipeline = prepare(args)
    for id_ in pipeline.dag.select(args.stage):
        log = Path(pipeline.planner.head.get(id_, {}).get("log", ""))
        if not log.is_file():
            console.say(f"{id_}: no log; it has not run here")
            continue
        console.say(f"{id_}: {console.relative(log)}")
        console.result(log.read_text(errors="replace").rstrip("\n"))
    return 0
