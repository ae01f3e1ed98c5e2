"""All commands and their options."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

from kpipe import __version__
from kpipe.errors import ConfigError, nearest
from kpipe.units import parse_count, parse_name, parse_size, parse_time


class Arguments(argparse.ArgumentParser):
    """Wrong arguments are a ConfigError like any other mistake."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.register("type", None, named)  # what an argument is without a type of its own

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting; for a mistyped name, the nearest one."""
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        near = nearest(choice[1], choice[2].replace("'", "").split(", ")) if choice else None
        raise ConfigError(message, hint=f"did you mean {near}?" if near else f"{self.prog} --help")


RUN = "a run's id, the beginning of one, or last, last~1, ..."
Verbs: TypeAlias = "argparse._SubParsersAction[Arguments]"


def parser() -> Arguments:
    """The command line. `function` of what is parsed names the function below kpipe.commands that does it."""
    top = Arguments(prog="kpipe", description="Fine-tune and compare Keras image classifiers, declared in one TOML file.")
    top.add_argument("--version", action="version", version=f"kpipe {__version__}")
    verbs = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    verbs.type = str  # it is given the command's arguments too, which the command looks at
    running(verbs)
    looking(verbs)
    remembering(verbs)
    comparing(verbs)
    predicting(verbs)
    diagnosing(verbs)
    beginning(verbs)
    return top


def running(verbs: Verbs) -> None:
    """run and plan."""
    found = command(verbs, "run", "bring the pipeline up to date", "run.run")
    selecting(found)
    found.add_argument("--jobs", type=positive, default=1, metavar="N", help="stages that run at the same time (default 1)")
    found.add_argument("--executor", default="local", help="where stages run (default local)")
    found.add_argument("--keep-going", action="store_true", help="go on with other branches when a stage fails")
    found.add_argument("--verify", action="store_true", help="believe no time stamp: check inputs and artifacts by contents")
    found.add_argument("--debug", metavar="STAGE", help="run this stage in this process, so that breakpoint() works")
    selecting(command(verbs, "plan", "what would run, and why", "plan.plan"))


def looking(verbs: Verbs) -> None:
    """explain, dag and logs."""
    explaining = command(verbs, "explain", "how a stage's key differs from that of its last run", "plan.explain", stage=True)
    offline(explaining)
    as_json(explaining)
    drawing = command(verbs, "dag", "draw the DAG", "show.show_dag")
    drawing.add_argument("--format", choices=["tree", "mermaid", "dot"], default="tree")
    command(verbs, "logs", "what a stage printed when it last ran", "show.logs", stage=True)


def remembering(verbs: Verbs) -> None:
    """runs, diff, gc and verify: what is in the store."""
    listing = add(verbs, "runs", "what was run when", "history.runs")
    pipeline_file(listing)
    listing.add_argument("--limit", type=positive, default=20, metavar="N", help="the last N runs (default 20)")
    differing = add(verbs, "diff", "how parameters and metrics of two runs differ", "history.diff")
    differing.add_argument("a", metavar="RUN", help=RUN)
    differing.add_argument("b", metavar="RUN")
    pipeline_option(differing)
    collecting = add(verbs, "gc", "what the store may lose; --delete removes it", "upkeep.gc")
    pipeline_file(collecting)
    collecting.add_argument(
        "--keep-runs", type=positive, default=10, metavar="N", help="what the last N runs used stays (default 10)"
    )
    collecting.add_argument("--older-than", type=period, default=0.0, metavar="TIME", help="only what is unused for 12h, 30d")
    collecting.add_argument("--max-size", type=size, metavar="SIZE", help="only as much as brings the store down to 20GB")
    collecting.add_argument("--delete", action="store_true", help="remove it")
    checking = add(verbs, "verify", "check everything in the store by its contents", "upkeep.verify")
    pipeline_file(checking)
    for found in (listing, collecting, checking):
        as_json(found)


def comparing(verbs: Verbs) -> None:
    """report."""
    found = add(verbs, "report", "the branches of several runs in one report", "report.report")
    found.add_argument("runs", nargs="+", metavar="RUN", help=RUN)
    found.add_argument("--out", metavar="FILE", help="the page; its table and figures go beside it (default: below reports/)")
    found.add_argument("--same-weights", action="store_true", help="also give every saved model the same images on both backends")
    pipeline_option(found)


def predicting(verbs: Verbs) -> None:
    """predict."""
    found = add(verbs, "predict", "classify pictures with a model of the last run", "predict.predict")
    found.add_argument("paths", nargs="+", metavar="IMAGE|FOLDER")
    found.add_argument("--model", metavar="BRANCH|FILE", help="default: the best branch on validation")
    pipeline_option(found)


def diagnosing(verbs: Verbs) -> None:
    """doctor."""
    found = add(verbs, "doctor", "what is wrong with the last run, or with a network of another program", "doctor.doctor")
    found.add_argument("model", nargs="?", metavar="MODEL.keras", help="default: the branches of the last run")
    found.add_argument("--data", metavar="FOLDER", help="the pictures that the network was trained on")
    found.add_argument("--history", metavar="CSV", help="its history, as keras.callbacks.CSVLogger writes it")
    pipeline_option(found)


def beginning(verbs: Verbs) -> None:
    """init."""
    found = add(verbs, "init", "write a pipeline and its stages into a new folder", "init.init")
    found.add_argument("folder", metavar="DIR")
    found.add_argument("--template", required=True, metavar="NAME", help="resnet50-validation-stuck")


def add(verbs: Verbs, name: str, what: str, function: str) -> Arguments:
    """A command."""
    found: Arguments = verbs.add_parser(name, help=what, description=what)
    found.set_defaults(function=function)
    return found


def command(verbs: Verbs, name: str, what: str, function: str, stage: bool = False) -> Arguments:
    """A command that reads a pipeline as a whole."""
    found = add(verbs, name, what, function)
    if stage:
        found.add_argument("stage", metavar="STAGE", help="a stage, or one instance: train[resnet50]")
    pipeline_file(found)
    found.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="stages.train.params.epochs=3")
    return found


def pipeline_file(found: Arguments) -> None:
    """The pipeline file where nothing else is asked for by position."""
    found.add_argument("file", nargs="?", default="pipeline.toml", metavar="FILE", help="default: pipeline.toml")


def pipeline_option(found: Arguments) -> None:
    """The pipeline file where the positions are taken, and JSON."""
    found.add_argument("--pipeline", dest="file", default="pipeline.toml", metavar="FILE", help="default: pipeline.toml")
    as_json(found)


def selecting(found: Arguments) -> None:
    """Options that choose stages."""
    found.add_argument("--from", dest="from_", metavar="STAGE", help="this stage and what needs it")
    found.add_argument("--until", metavar="STAGE", help="this stage and what it needs")
    found.add_argument("--only", metavar="STAGE", help="this stage alone")
    found.add_argument("--force", action="append", default=[], metavar="STAGE", help="run it even where it is cached")
    offline(found)
    as_json(found)


def offline(found: Arguments) -> None:
    """The option for who has no network."""
    found.add_argument("--offline", action="store_true", help="take what lies behind a URL as it was when it was seen last")


def as_json(found: Arguments) -> None:
    """The option for a machine that reads."""
    found.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def told(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser of argument values whose ValueError is what the person reads."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as e:
            raise argparse.ArgumentTypeError(str(e)) from None

    return read


period, size, positive, named = map(told, (parse_time, parse_size, parse_count, parse_name))
