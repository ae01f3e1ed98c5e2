"""What every command begins with: the pipeline that its arguments ask for."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import fields
from pathlib import Path

from kpipe import console
from kpipe.pipeline import Pipeline, Request


def prepare(args: Namespace) -> Pipeline:
    """Read the file, expand the DAG, choose the instances that the command is about, and say what is to be noticed."""
    given = {part.name: getattr(args, part.name) for part in fields(Request) if hasattr(args, part.name)}
    pipeline = Pipeline(
        Request(**{**given, "file": Path(args.file), "overrides": tuple(args.set), "force": tuple(getattr(args, "force", ()))})
    )
    for text in pipeline.notices:
        console.notice(text)
    return pipeline
