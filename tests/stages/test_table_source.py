"""A data set in a CSV or Parquet table: what is taken from it, and what is said of rows that cannot be true."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kpipe.stage import StageError
from tests.stages.test_ingest import audit, by_class, dataset, ingested, picture, rows

ROOT = Path(__file__).resolve().parents[2]


def pets(tmp_path, each=10):
    by_class(tmp_path / "photos", each=each)
    return [f"photos/{c}/{i}.png,{c}" for c in ("cats", "dogs") for i in range(each)]


def read(tmp_path, lines, header="path,label", name="out", **params):
    if isinstance(lines, bytes):
        (tmp_path / "table.csv").write_bytes(lines)
    else:
        (tmp_path / "table.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return ingested(tmp_path, tmp_path / "table.csv", name, images=tmp_path / "photos", **params)


@pytest.mark.slow
def test_a_table_gives_what_the_folder_gives(tmp_path):
    lines = pets(tmp_path)
    from_table, from_folder = read(tmp_path, lines), ingested(tmp_path, tmp_path / "photos", name="folder")
    assert [r["path"] for r in rows(from_table)] == [f"photos/{r['path']}" for r in rows(from_folder)]
    for name in ("label", "split", "hash", "width", "height", "mode", "format", "bytes"):
        assert [r[name] for r in rows(from_table)] == [r[name] for r in rows(from_folder)]
    assert (from_table.out / "images.npy").read_bytes() == (from_folder.out / "images.npy").read_bytes()
    assert dataset(from_table)["classes"] == ["cats", "dogs"] and dataset(from_table)["source"] == "table.csv"
    assert not from_table.notices


def test_split_and_group_are_those_of_the_table(tmp_path):
    splits = ["train", "Val", "TEST", "train"]
    lines = [f"{line},{splits[i // 2 % 4]},owner {i // 2}" for i, line in enumerate(pets(tmp_path, each=8))]
    found = read(tmp_path, lines, header="path,label,split,group")
    told = {line.split(",")[0]: line.split(",") for line in lines}
    names = {"train": "train", "Val": "validation", "TEST": "test"}
    assert len(rows(found)) == 16
    for row in rows(found):
        assert (row["label"], row["split"], row["group"]) == (
            told[row["path"]][1],
            names[told[row["path"]][2]],
            told[row["path"]][3],
        )
    assert dataset(found)["split"] == "as found"


def test_exact_shares_that_large_groups_leave_far_off_are_said(tmp_path):
    lines = pets(tmp_path, each=20)
    large = read(
        tmp_path, [f"{line},{line.split(',')[1]} {i % 20 // 7}" for i, line in enumerate(lines)], header="path,label,group"
    )
    assert [notice.split(" has ")[0] for notice in large.notices] == ["validation", "test"]
    assert all(notice.endswith("groups or copies that stay together are too large for it") for notice in large.notices)
    small = read(tmp_path, [f"{line},owner {i}" for i, line in enumerate(lines)], header="path,label,group", name="b")
    assert not small.notices


def test_a_group_that_the_table_tears_apart_is_refused(tmp_path):
    lines = [f"{line},{('train', 'test')[i % 2]},owner {i // 2}" for i, line in enumerate(pets(tmp_path, each=8))]
    with pytest.raises(StageError, match=r"group owner 0, owner 1.* lies in several splits"):
        read(tmp_path, lines, header="path,label,split,group")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_byte_order_marks_and_line_ends(tmp_path, delimiter, start, end):
    lines = [delimiter.join(line.split(",")[::-1]) for line in pets(tmp_path)]
    text = start + end.join([f" Label {delimiter}PATH", *lines, "", ""])
    assert len(rows(read(tmp_path, text.encode()))) == 20


def test_quoted_names_hold_delimiters_quotes_and_line_breaks(tmp_path):
    lines = pets(tmp_path)
    picture(tmp_path / "photos" / 'a, "b"\nc.png', 77)
    found = read(tmp_path, [*lines, '"photos/a, ""b""\nc.png",cats'])
    assert [r["label"] for r in rows(found) if r["path"] == 'photos/a, "b"\\nc.png'] == ["cats"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("photos/cats/none.png,cats", "line 22: photos/cats/none.png: no such file or directory"),
        (r"photos\cats\1.png,cats", "line 22: photos/cats/1.png is written with backslashes; write /"),
        ("/etc/passwd,cats", "line 22: /etc/passwd is an absolute path"),
        ("C:/photos/1.png,cats", "line 22: C:/photos/1.png is an absolute path"),
        ("../secret.png,cats", "line 22: ../secret.png leaves the folder of the table"),
        ("photos/../../x.png,cats", "line 22: ../x.png leaves the folder of the table"),
        ("table.csv,cats", "line 22: table.csv lies outside images = photos"),
        ("photos/../table.csv,cats", "line 22: table.csv lies outside images = photos"),
        ("cats/0.png,cats", r"line 22: cats/0.png lies outside images = photos"),
        ("photos/cats/0.png,dogs", "line 22: photos/cats/0.png has the label 'dogs', but 'cats' in line 2"),
        ("photos/cats/../cats/0.png,dogs", "line 22: photos/cats/0.png has the label 'dogs', but 'cats' in line 2"),
        (",cats", "line 22: no path"),
        ("photos/cats/0.png, ", "line 22: no label"),
        ("photos/cats/0.png,cats,1", "line 22: 3 cells, but 2 columns"),
        ("photos/cats/0.png", "line 22: 1 cells, but 2 columns"),
        ('"photos/cats/0.png,cats', "line 22: unexpected end of data"),
        ("photos/cats/\x00.png,cats", "line 22"),
        ("photos/cats,cats", None),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_true_are_told_with_their_line(tmp_path, bad, words):
    lines = [*pets(tmp_path), bad]
    if words is None:  # a folder is skipped like every other thing that is no file
        assert audit(read(tmp_path, lines))["skipped"] == [{"path": "photos/cats", "reason": "not a regular file"}]
        return
    with pytest.raises(StageError, match=words) as caught:
        read(tmp_path, lines)
    assert caught.value.message.startswith("table.csv, line 22") and caught.value.hint


@pytest.mark.parametrize(
    ("header", "change", "words"),
    [
        ("file,label", lambda line: line, "table.csv has no column path; it has file, label"),
        ("a,b", lambda line: line, "no column path and no label"),
        ("path,label,label", lambda line: line + ",x", "column label twice"),
        ("path,label,split", lambda line: line + ",dev", "line 2: split 'dev' is none of train, training, validation, val"),
        ("path,label,split", lambda line: line + ("," if "/3" in line else ",train"), "line 5: no split, but other rows"),
        ("path,label,split", lambda line: line + ",test", "test but no train rows"),
        ("path,label,split", lambda line: line + (",train" if "cats" in line else ",test"), "no readable image of cats in test"),
        ("path,label", lambda line: line.split(",")[0] + ",cats", "only one class"),
        ("path,label", lambda line: line.replace("cats/1.png,cats", "cats/1.png,Cats"), "look alike: 'Cats' and 'cats'"),
    ],
)
def test_tables_that_cannot_be_a_data_set(tmp_path, header, change, words):
    with pytest.raises(StageError, match=words) as caught:
        read(tmp_path, [change(line) for line in pets(tmp_path)], header=header)
    assert caught.value.hint


@pytest.mark.parametrize(("on_disk", "named"), [("cafe\u0301.png", "caf\u00e9.png"), ("caf\u00e9.png", "cafe\u0301.png")])
def test_letters_that_are_composed_in_another_way_are_said(tmp_path, on_disk, named):
    lines = pets(tmp_path)
    picture(tmp_path / "photos" / "cats" / on_disk, 77)
    assert len(rows(read(tmp_path, [*lines, f"photos/cats/{on_disk},cats"]))) == 21
    form = "NFD" if len(on_disk) > len(named) else "NFC"
    with pytest.raises(StageError, match=rf"no such file or directory; .* composed in another way \(Unicode {form}\)"):
        read(tmp_path, [*lines, f"photos/cats/{named},cats"], name="b")


def test_many_bad_rows_are_counted(tmp_path):
    with pytest.raises(StageError, match=r"line 2: .*; line 3: .*; line 4: .*; and 17 more"):
        read(tmp_path, ["x" + line for line in pets(tmp_path)])


def test_other_text_is_named_with_its_line(tmp_path):
    pets(tmp_path)
    with pytest.raises(StageError, match=r"table.csv, line 3: not UTF-8 text"):
        read(tmp_path, "path,label\nphotos/cats/0.png,cats\nphotos/cats/1.png,caf\u00e9\n".encode("latin-1"))
    with pytest.raises(StageError, match="has no column"):
        read(tmp_path, b"")
    with pytest.raises(StageError, match="has no rows"):
        read(tmp_path, b"path,label\n")


def test_repeated_rows_and_unread_columns_are_said(tmp_path):
    lines = [f"{line},5" for line in pets(tmp_path)]
    stage = read(tmp_path, [*lines, lines[3], lines[4]], header="path,label,age")
    assert len(rows(stage)) == 20
    assert stage.notices == [
        "table.csv: columns that are not read: age",
        "table.csv: 2 rows repeat an earlier one and are left out, the first in line 22",
    ]


def test_bad_images_of_a_table_are_skipped_and_named(tmp_path):
    lines = pets(tmp_path)
    (tmp_path / "photos" / "cats" / "0.png").write_bytes(b"")
    (tmp_path / "photos" / "dogs" / "notes.txt").write_text("a dog")
    os.mkfifo(tmp_path / "photos" / "pipe")
    found = audit(read(tmp_path, [*lines, "photos/dogs/notes.txt,dogs", "photos/pipe,dogs"]))
    assert {s["path"]: s["reason"] for s in found["skipped"]} == {
        "photos/cats/0.png": "empty file", "photos/dogs/notes.txt": "not an image", "photos/pipe": "not a regular file",
    }  # fmt: skip


def test_a_table_needs_the_folder_of_its_images_and_nothing_else_has_one(tmp_path):
    lines = pets(tmp_path)
    read(tmp_path, lines)
    with pytest.raises(StageError, match="table of images needs their folder") as caught:
        ingested(tmp_path, tmp_path / "table.csv", name="b")
    assert 'images = "photos"' in (caught.value.hint or "")
    with pytest.raises(StageError, match="images = photos belongs to a table"):
        ingested(tmp_path, tmp_path / "photos", name="c", images=tmp_path / "photos")
    with pytest.raises(StageError, match="images = photos belongs to a table"):
        ingested(tmp_path, "sample:digits", name="d", images=tmp_path / "photos")


@pytest.mark.parametrize("numbers", [False, True])
def test_a_parquet_file_is_read_like_a_csv(tmp_path, numbers):
    parquet, pyarrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    lines = pets(tmp_path)
    labels = [line.split(",")[1] for line in lines]
    columns = {
        "Path": [line.split(",")[0] for line in lines],
        "label": [7 if label == "dogs" else 3 for label in labels] if numbers else labels,
        "group": [None if i % 2 else i for i in range(20)],
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "table")
    found = rows(ingested(tmp_path, tmp_path / "table", images=tmp_path / "photos"))
    expected = dict(zip(columns["Path"], zip(columns["label"], columns["group"], strict=True), strict=True))
    assert len(found) == 20
    for row in found:
        label, group = expected[row["path"]]
        assert (row["label"], row["group"]) == (str(label), "" if group is None else str(group))


def test_a_damaged_parquet_file_is_named(tmp_path):
    pytest.importorskip("pyarrow")
    pets(tmp_path)
    (tmp_path / "table.parquet").write_bytes(b"PAR1 and nothing PAR1")
    with pytest.raises(StageError, match=r"table.parquet is a Parquet file that cannot be read"):
        ingested(tmp_path, tmp_path / "table.parquet", images=tmp_path / "photos")


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_parquet_without_pyarrow_says_what_to_install(tmp_path):
    pets(tmp_path)
    (tmp_path / "table.parquet").write_bytes(b"PAR1 and nothing PAR1")
    with pytest.raises(StageError, match="pyarrow is missing") as caught:
        ingested(tmp_path, tmp_path / "table.parquet", images=tmp_path / "photos")
    assert "pip install pyarrow" in (caught.value.hint or "")


@pytest.mark.slow
def test_an_image_that_changes_reruns_what_reads_the_table(tmp_path):
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    lines = pets(tmp_path)
    (tmp_path / "table.csv").write_text("\n".join(["path,label", *lines]))
    (tmp_path / "pipeline.toml").write_text(
        '[pipeline]\nname = "t"\n[stages.ingest]\nrun = "stages.ingest"\n'
        'params = { source = "table.csv", images = "photos", image_size = 8 }\n'
    )

    def kpipe(command):
        done = subprocess.run([sys.executable, "-m", "kpipe", command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    kpipe("run")
    assert "cached" in kpipe("plan")
    picture(tmp_path / "photos" / "cats" / "3.png", 4711)
    assert "cached" not in kpipe("plan") and "images" in kpipe("plan")
