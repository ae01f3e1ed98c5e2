"""kpipe doctor."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kpipe import console
from kpipe.commands.init import STAGES
from kpipe.commands.predict import said, sound
from kpipe.errors import ConfigError
from kpipe.spec import Spec
from kpipe.store import Store

MODULE = "stages.tools.doctor"
OWN = STAGES.parent / "pipeline.toml"
SEVERITIES = ("error", "warning", "note")
USE = "kpipe doctor MODEL.keras --data FOLDER [--history CSV], or kpipe doctor alone"


def doctor(args: Namespace) -> int:
    """Say what is wrong with the last run's branches, or with a network of another program."""
    from kpipe.tools import use

    refuse(args)
    spec = project(args)
    given = {"model": args.model, "data": args.data, "history": args.history}
    params = {name: str(Path(path).absolute()) if path else "" for name, path in given.items()}
    with use(spec, Store(spec.store), MODULE, params, said) as folder:
        found: list[dict[str, Any]] = json.loads((folder / "findings.json").read_text())
    if args.json:
        console.result_json(found)
        return 0
    for finding in sorted(found, key=lambda finding: SEVERITIES.index(finding["severity"])):
        for line in told(finding):
            console.result(line)
    if not found:
        console.result("nothing was found")
    return 0


def project(args: Namespace) -> Spec:
    """The pipeline; for a network of another program kpipe's own, where there is none here or it has no doctor."""
    file = Path(args.file)
    here = file.parent / f"{MODULE.replace('.', '/')}.py"
    if args.model and OWN.is_file() and not (file.is_file() and here.is_file()):
        return sound(OWN)
    return sound(file)


def refuse(args: Namespace) -> None:
    """ConfigError where the arguments do not go together, or name what is not there."""
    if bool(args.model) != bool(args.data):
        raise ConfigError("MODEL.keras and --data FOLDER go together", hint=USE)
    if args.history and not args.model:
        raise ConfigError("--history is that of a MODEL.keras", hint=USE)
    for path in filter(None, (args.model, args.data, args.history)):
        if not Path(path).exists():
            raise ConfigError(f"{path}: no such file or folder", hint=USE)


def told(finding: dict[str, Any]) -> Iterator[str]:
    """A finding for a person: what, why, the numbers, the line that mends it, and what that was measured to do."""
    where = f"  [{finding['branch']}]" if finding["branch"] else ""
    yield f"{finding['severity']}: {finding['title']}  ({finding['rule']}){where}"
    yield f"  {finding['cause']}"
    for name, value in finding["evidence"].items():
        label = name.replace("_", " ") if name.isidentifier() else name  # a picture's path is told as it is
        yield f"  {label}: {shown(value)}"
    if effect := finding["effect"]:
        yield f"  measured: {effect['as_configured']:.3g} -> {effect['with_fix']:.3g}, {effect['measure']}"
    if finding["fix"]:
        yield from (f"  fix: {line}" for line in finding["fix"].splitlines())
    yield ""


def shown(value: Any) -> str:
    """A number in four digits, a list of them, or the text that it is."""
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
