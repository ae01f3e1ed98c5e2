"""Projects as a person has them: with the stages in a folder of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def copy_stages(project: Path) -> None:
    """The stages of this repository into a project's folder."""
    shutil.copytree(ROOT / "stages", project / "stages", ignore=shutil.ignore_patterns("__pycache__"))
