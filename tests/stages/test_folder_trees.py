"""Folder trees as people have them, drawn at random: every file is told once, as what it is, and none is lost."""

import os
import subprocess
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from kpipe.stage import StageError
from stages.data.files import find
from stages.data.splits import layout
from tests.stages import files_made as made
from tests.stages.test_ingest import audit, dataset, ingested, rows

QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)  # fmt: skip
SYSTEM = [".DS_Store", "Thumbs.db", "desktop.ini", "._x.jpg", ".git", "__MACOSX", "$RECYCLE.BIN"]
KINDS = ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "empty", "page", "text", "cut", "pipe", "broken link", "loop"]
IMAGES = KINDS[:6]
names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name.strip(" .") and not name.startswith(".") and name.lower() not in {s.lower() for s in SYSTEM}
)
raw_names = st.one_of(
    names.map(str.encode), names.map(lambda n: unicodedata.normalize("NFD", n).encode()), st.binary(min_size=1, max_size=9)
).filter(lambda n: b"/" not in n and b"\0" not in n and not n.startswith(b"."))  # fmt: skip
ends = st.sampled_from([b"", b".jpg", b".JPG", b".png", b".txt"])
entries = st.lists(
    st.tuples(st.lists(names, max_size=2), raw_names, ends, st.sampled_from(KINDS)), max_size=8
)  # folders, name, suffix, what it is


def write(path: bytes, kind: str, number: int) -> None:
    picture = Image.fromarray(np.random.default_rng(number).integers(0, 256, (6, 7, 3), dtype=np.uint8))
    if kind == "pipe":
        os.mkfifo(path)
    elif kind in ("broken link", "loop"):
        os.symlink(b"nowhere" if kind == "broken link" else os.path.basename(path), path)
    else:
        content = {"empty": b"", "page": b"<html>", "text": b"words"}.get(kind)
        if content is None:
            content = made.content(picture, "PNG" if kind == "cut" else kind)
        with open(path, "wb") as file:
            file.write(content[:60] if kind == "cut" else content)


def grown(root: Path, tree: list, label: str) -> dict[bytes, str]:
    """Write the drawn entries below a class folder; path -> kind of those that could be made."""
    made_: dict[bytes, str] = {}
    for number, (folders, name, end, kind) in enumerate(tree):
        path = os.path.join(os.fsencode(root / label), *(os.fsencode(f) for f in folders), name + end)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if not os.path.lexists(path):
                write(path, kind, number)
                made_[path] = kind
        except (FileExistsError, NotADirectoryError):
            continue
    return made_


@pytest.mark.slow
@QUICK
@given(entries, entries, st.lists(st.sampled_from(SYSTEM), max_size=4, unique=True))
def test_every_file_of_a_tree_is_told_once(first, second, system):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "pets"
        for label in ("cats", "dogs"):
            (root / label).mkdir(parents=True)
            for number in range(4):
                write(os.fsencode(root / label / f"base {number}.png"), "PNG", 1000 + number + 10 * (label == "dogs"))
        kinds = grown(root, first, "cats") | grown(root, second, "dogs")
        for name in system:
            (root / "cats" / name).write_bytes(b"x")
        stage = ingested(Path(folder), root)
        told, found = rows(stage), audit(stage)
        images = sum(kind in IMAGES for kind in kinds.values())
        assert len(told) == len({row["path"] for row in told}) == 8 + images
        assert found["ignored"] == len(system)
        assert len(found["skipped"]) + len(found["others"]) == len(kinds) - images
        reasons = sorted(s["reason"] for s in found["skipped"])
        assert reasons.count("not a regular file") == sum(kind == "pipe" for kind in kinds.values())
        assert reasons.count("broken link") == sum(kind == "broken link" for kind in kinds.values())
        assert dataset(stage)["classes"] == ["cats", "dogs"]
        shown = sorted([row["path"] for row in told] + [s["path"] for s in found["skipped"]] + found["others"])
        assert len(set(shown)) == len(shown) == 8 + len(kinds)
        assert all(text.isprintable() for text in shown)


@QUICK
@given(
    st.lists(
        st.lists(st.one_of(names, st.sampled_from(["train", "val", "test", "Train", "cats", "Cats"])), min_size=1, max_size=3),
        max_size=8,
    )
)
def test_any_folders_have_a_layout_or_a_clear_error(paths):
    with tempfile.TemporaryDirectory() as folder:
        for parts in paths:
            Path(folder, *parts).mkdir(parents=True, exist_ok=True)
        found = find(Path(folder))
        try:
            how = layout(found.folders)
        except StageError as e:
            assert e.message and e.hint
            return
        assert list(how.classes) == sorted(set(how.classes)) and how.classes
        tops = {path.split("/")[0] for path in found.folders}
        assert set(how.splits) == (tops if how.splits else set()) and (how.splits or set(how.classes) == tops)


@pytest.mark.slow
def test_picture_below_1500_folders_is_found_and_decoded(tmp_path):
    source, deep = tmp_path / "pets", "cats/" + "d/" * 1500
    for label in ("cats", "dogs"):
        (source / label).mkdir(parents=True)
        for number in range(4):
            write(os.fsencode(source / label / f"{number}.png"), "PNG", number + 10 * (label == "dogs"))
    try:
        for step in range(1, 1501):
            os.mkdir(f"{source}/cats/" + "d/" * step)
        write(os.fsencode(f"{source}/{deep}deep.png"), "PNG", 99)
        assert f"{deep}deep.png" in {row["path"] for row in rows(ingested(tmp_path, source))}
    finally:
        subprocess.run(["rm", "-rf", str(source)], check=True)  # shutil.rmtree is recursive
