"""reports/: copies of gathered artifacts under the pipeline's name, made anew whenever they are missing or differ."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from kpipe.errors import StoreError, disk_hint
from kpipe.files import locked_folder, walk
from kpipe.outcome import Outcome
from kpipe.spec import Spec
from kpipe.store import Store


def export(spec: Spec, store: Store, outcomes: Mapping[str, Outcome]) -> list[Path]:
    """Copy every gathered stage's artifact; the paths of its own page (STAGE.html) or, where it has none, of its folder.

    STAGE.ext becomes reports/NAME-BACKEND.ext, everything else goes below reports/NAME-BACKEND/. A gathered stage that
    is not called "report" adds its name.
    """
    gathered = [o for o in outcomes.values() if o.instance.stage.gather and o.output]
    if not gathered:
        return []
    reports = spec.root / "reports"
    reports.mkdir(exist_ok=True)
    with locked_folder(reports):  # another kpipe of this project may export the same
        return [export_one(o.instance.stage.name, store.object(o.output), reports, spec) for o in gathered]


def export_one(stage: str, source: Path, reports: Path, spec: Spec) -> Path:
    """Copy one artifact; the path of its page or folder."""
    title = "-".join([spec.name, "+".join(spec.backends)] + ([stage] if stage != "report" else []))
    return copy_out(stage, source, reports / title)


def copy_out(stage: str, source: Path, base: Path, sweep: bool = True) -> Path:
    """Copy what a stage wrote, STAGE.ext to BASE.ext, all else below BASE; the path of its page, or of BASE where it has none.

    With `sweep`, what an earlier one left below BASE is removed.
    """
    targets = {target(path.relative_to(source), stage, base): path for path in walk(source)}
    for to, path in targets.items():
        copy(path, to)
    for stale in [p for p in walk(base) if p not in targets] if sweep and base.is_dir() else []:
        stale.unlink()
    page = base.with_name(base.name + ".html")
    return page if page in targets else base


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
    draft = to.with_name(f".{to.name}.draft")  # one name for all: what a kill leaves, the next copy overwrites
    try:
        shutil.copyfile(source, draft)
        os.utime(draft, ns=(info.st_atime_ns, info.st_mtime_ns))
        draft.rename(to)
    except OSError as e:
        raise StoreError(f"{to} cannot be written: {e.strerror}", hint=disk_hint(e)) from None
    finally:
        draft.unlink(missing_ok=True)
