"""Where the results of the hidden half are kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.benchmarks.training.peers import ROOT


def results(work: Path) -> Path:
    """A folder for the results of this very code: other rules, or other cases, are examined anew."""
    files = sorted([*(ROOT / "stages").rglob("*.py"), *Path(__file__).parent.glob("*.py")])
    return work / "hidden" / hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
