"""Which folders hold a project's own code: what is installed may lie below its folder as well."""

from __future__ import annotations

import os
import sys
from pathlib import Path

LIBRARIES = [Path(place).resolve().parent for place in (__file__, os.__file__)]  # the engine's folder and Python's


def belongs(folder: Path, root: Path) -> bool:
    """Whether a folder of modules is a project's: below its own, and no library that is installed there."""
    return (
        folder.is_relative_to(root)
        and not {"site-packages", "dist-packages"} & set(folder.relative_to(root).parts)
        and not any(folder.is_relative_to(library) for library in LIBRARIES)
    )


def paths_below(root: Path) -> list[Path]:
    """The folders of a project that Python imports from, because it was installed to be edited, or by PYTHONPATH."""
    own = 0 if sys.flags.safe_path else 1  # a worker does not have the folder that this process was started in or from
    real = root.resolve()
    found = [Path(place).resolve() for place in sys.path[own:] if place]
    return [root / place.relative_to(real) for place in dict.fromkeys(found) if place != real and belongs(place, real)]
