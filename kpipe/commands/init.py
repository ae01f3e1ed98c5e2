"""kpipe init."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path

from kpipe import console
from kpipe.errors import ConfigError

STAGES = Path(__file__).resolve().parents[2] / "stages"
TEMPLATES = STAGES / "templates"


def init(args: Namespace) -> int:
    """Write a pipeline and a copy of the stages that it uses into a new folder."""
    template, folder = TEMPLATES / f"{args.template}.toml", Path(args.folder)
    if not template.is_file():
        known = ", ".join(sorted(path.stem for path in TEMPLATES.glob("*.toml"))) or "none: kpipe's stages are not beside it"
        raise ConfigError(f"there is no template {args.template!r}", hint=f"templates: {known}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already, and not empty", hint="name a new folder")
    shutil.copytree(STAGES, folder / "stages", ignore=not_copied)
    shutil.copyfile(template, folder / "pipeline.toml")
    console.result(f"{folder / 'pipeline.toml'}")
    console.say("look at `source` and `weights` in it, then: kpipe run " + str(folder / "pipeline.toml"))
    return 0


def not_copied(folder: str, names: list[str]) -> set[str]:
    """Compiled modules, and the pipelines that init itself offers."""
    return {name for name in names if name == "__pycache__" or Path(folder, name) == TEMPLATES}
