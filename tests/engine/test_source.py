"""Facts of source files, and how long they are believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpipe.closure import Project
from kpipe.store import Store


@pytest.mark.parametrize("changed", ["kpipe.store.python_minor", "kpipe.store.FACTS"])
def test_facts_kept_by_another_python_or_kpipe_are_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """Another Python dumps another tree: its digests would never equal those of what a worker imports."""
    monkeypatch.setattr("kpipe.digest.RECENT_NS", -1_000_000_000)
    (tmp_path / "code.py").write_text("X = 1\n")

    def kept() -> object:
        return Store(tmp_path / "store").sources.get(tmp_path / "code.py", (tmp_path / "code.py").stat())

    store = Store(tmp_path / "store")
    Project(tmp_path, store.sources).closure("code")
    store.save_caches()
    assert kept() is not None
    monkeypatch.setattr(changed, (lambda: "3.99") if changed.endswith("minor") else 99)
    assert kept() is None
