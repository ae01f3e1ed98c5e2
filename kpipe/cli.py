"""The command line. Only here an error becomes an exit code: 0 done, 1 a stage failed, 2 wrong input, 130 interrupted."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from kpipe import __version__, console
from kpipe.commands.plan import explain, plan
from kpipe.commands.predict import predict
from kpipe.commands.run import run
from kpipe.commands.show import logs, show_dag
from kpipe.errors import ConfigError, Interrupted, KpipeError, StoreError, nearest


class Arguments(argparse.ArgumentParser):
    """Wrong arguments are a ConfigError like any other mistake."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting; for a mistyped name, the nearest one."""
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        near = nearest(choice[1], choice[2].replace("'", "").split(", ")) if choice else None
        raise ConfigError(message, hint=f"did you mean {near}?" if near else f"{self.prog} --help")


def parser() -> Arguments:
    """All commands and their options."""
    top = Arguments(prog="kpipe", description="Fine-tune and compare Keras image classifiers, declared in one TOML file.")
    top.add_argument("--version", action="version", version=f"kpipe {__version__}")
    verbs = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    running = command(verbs, "run", "bring the pipeline up to date", run)
    selecting(running)
    running.add_argument("--force", action="append", default=[], metavar="STAGE", help="run it even where it is cached")
    running.add_argument("--jobs", type=positive, default=1, metavar="N", help="stages that run at the same time (default 1)")
    running.add_argument("--executor", default="local", help="where stages run (default local)")
    running.add_argument("--keep-going", action="store_true", help="go on with other branches when a stage fails")
    running.add_argument("--verify", action="store_true", help="believe no time stamp: check inputs and artifacts by contents")
    running.add_argument("--debug", metavar="STAGE", help="run this stage in this process, so that breakpoint() works")
    as_json(running)

    planning = command(verbs, "plan", "what would run, and why", plan)
    selecting(planning)
    planning.add_argument("--force", action="append", default=[], metavar="STAGE", help="as if it were not cached")
    as_json(planning)
    as_json(command(verbs, "explain", "how a stage's key differs from that of its last run", explain, stage=True))
    draw = command(verbs, "dag", "draw the DAG", show_dag)
    draw.add_argument("--format", choices=["tree", "mermaid", "dot"], default="tree")
    command(verbs, "logs", "what a stage printed when it last ran", logs, stage=True)

    predicting = verbs.add_parser(
        "predict", help="classify pictures with a model of the last run", description="the same preparation as in training"
    )
    predicting.add_argument("paths", nargs="+", metavar="IMAGE|FOLDER")
    predicting.add_argument("--model", default="", metavar="BRANCH|FILE", help="default: the best branch on validation")
    predicting.add_argument("--pipeline", default="pipeline.toml", metavar="FILE", help="default: pipeline.toml")
    as_json(predicting)
    predicting.set_defaults(function=predict, set=[])
    return top


def command(
    verbs: argparse._SubParsersAction[Arguments], name: str, what: str, function: object, stage: bool = False
) -> Arguments:
    """A command with what all of them share."""
    found = verbs.add_parser(name, help=what, description=what)
    if stage:
        found.add_argument("stage", metavar="STAGE", help="a stage, or one instance: train[resnet50]")
    found.add_argument("file", nargs="?", default="pipeline.toml", metavar="FILE", help="default: pipeline.toml")
    found.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="stages.train.params.epochs=3")
    found.set_defaults(function=function, force=[])
    return found


def selecting(found: Arguments) -> None:
    """Options that choose stages."""
    found.add_argument("--from", dest="from_", metavar="STAGE", help="this stage and what needs it")
    found.add_argument("--until", metavar="STAGE", help="this stage and what it needs")
    found.add_argument("--only", metavar="STAGE", help="this stage alone")


def as_json(found: Arguments) -> None:
    """The option for a machine that reads."""
    found.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number of at least 1")
    return int(text)


def invoke(argv: Sequence[str]) -> int:
    """Run a command line; its exit code."""
    try:
        args = parser().parse_args(argv)
        return int(args.function(args))
    except KpipeError as e:
        console.error(e)
        return e.exit_code
    except KeyboardInterrupt:
        console.say("interrupted: workers stopped; what was committed stays")
        return Interrupted.exit_code
    except OSError as e:
        console.error(StoreError(f"{e.filename or 'the file system'}: {e.strerror or e}", hint="earlier results are intact"))
        return StoreError.exit_code


def interrupt(number: int, frame: FrameType | None) -> None:
    """A scheduler's SIGTERM ends a run as Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Entry point."""
    signal.signal(signal.SIGTERM, interrupt)
    code = invoke(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
