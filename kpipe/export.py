"""reports/: copies of gathered artifacts under the pipeline's name, made anew whenever they are missing or differ."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from kpipe.files import walk
from kpipe.outcome import Outcome
from kpipe.spec import Spec
from kpipe.store import Store


def export(spec: Spec, store: Store, outcomes: Mapping[str, Outcome]) -> list[Path]:
    """Copy every gathered stage's artifact; the paths of its own page (STAGE.html) or, where it has none, of its folder.

    STAGE.ext becomes reports/NAME-BACKEND.ext, everything else goes below reports/NAME-BACKEND/. A gathered stage that
    is not called "report" adds its name.
    """
    pages = []
    for outcome in outcomes.values():
        stage = outcome.instance.stage
        if not stage.gather or not outcome.output:
            continue
        title = "-".join([spec.name, "+".join(spec.backends)] + ([stage.name] if stage.name != "report" else []))
        base = spec.root / "reports" / title
        source = store.object(outcome.output)
        targets = {target(path.relative_to(source), stage.name, base): path for path in walk(source)}
        for to, path in targets.items():
            copy(path, to)
        for stale in [p for p in walk(base) if p not in targets] if base.is_dir() else []:
            stale.unlink()
        page = base.with_name(base.name + ".html")
        pages.append(page if page in targets else base)
    return pages


def target(relative: Path, stage: str, base: Path) -> Path:
    """Where one file of an artifact goes."""
    if len(relative.parts) == 1 and relative.stem == stage:
        return base.with_name(base.name + relative.suffix)
    return base / relative


def copy(source: Path, to: Path) -> None:
    """Copy a file unless the copy is already there (same size and time); never leave half of one."""
    info = source.stat()
    if to.is_file() and (to.stat().st_size, to.stat().st_mtime_ns) == (info.st_size, info.st_mtime_ns):
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    draft = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
    try:
        shutil.copyfile(source, draft)
        os.utime(draft, ns=(info.st_atime_ns, info.st_mtime_ns))
        draft.rename(to)
    finally:
        draft.unlink(missing_ok=True)
