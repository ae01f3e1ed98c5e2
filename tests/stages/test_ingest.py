"""Folders and samples become one array, one manifest and an audit."""

import csv
import hashlib
import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kpipe.stage import Stage, StageError
from stages import ingest
from stages.data import bad_images, decoded, images, manifest
from stages.data.files import find
from stages.data.labels import Labels
from stages.diagnosis import folder

SHARED = Path(os.environ.get("KPIPE_SHARED", Path(__file__).parents[2].parent / "shared"))
PHOTOGRAPHS = SHARED / "data" / "dogs_vs_cats_small"


def picture(path, value, size=(12, 10)):
    """A file with one picture that differs from those of other values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")


def by_class(folder, classes=("cats", "dogs"), each=10):
    for c, name in enumerate(classes):
        for i in range(each):
            picture(folder / name / f"{i}.png", 1000 * c + i)
    return folder


def split_folders(folder, names=("train", "validation", "test"), each=4):
    for s, name in enumerate(names):
        for c, label in enumerate(("cats", "dogs")):
            for i in range(each):
                picture(folder / name / label / f"{i}.png", 10_000 * s + 1000 * c + i)
    return folder


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


def ingested(tmp_path, source, name="out", **params):
    stage = Stage(out=tmp_path / name, scratch=tmp_path / "scratch", store=tmp_path / "store")
    ingest.run(stage, source=source, **{"image_size": 8, "split": "exact", **params})
    return stage


def rows(stage):
    with (stage.out / "manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def audit(stage):
    return json.loads((stage.out / "audit.json").read_text(encoding="utf-8"))


def dataset(stage):
    return json.loads((stage.out / "dataset.json").read_text(encoding="utf-8"))


def test_a_folder_a_class_gives_array_manifest_and_counts(tmp_path):
    source = by_class(tmp_path / "pets")
    stage = ingested(tmp_path, source)
    found, array = rows(stage), np.load(stage.out / "images.npy")
    assert list(found[0]) == [
        "row",
        "path",
        "label",
        "split",
        "hash",
        "width",
        "height",
        "mode",
        "format",
        "bytes",
        "group",
        "fold",
    ]
    assert array.shape == (20, 8, 8, 3) and array.dtype == np.uint8
    assert [r["path"] for r in found] == sorted(r["path"] for r in found)
    for row in found:
        path = source / row["path"]
        assert row["hash"] == hashlib.sha256(path.read_bytes()).hexdigest() and int(row["bytes"]) == path.stat().st_size
        assert (array[int(row["row"])] == images.prepare(path, (8, 8), "stretch").pixels).all()
        assert (row["width"], row["height"], row["mode"], row["format"]) == ("12", "10", "RGB", "PNG")
    assert dataset(stage)["counts"] == {s: {"cats": n, "dogs": n} for s, n in (("train", 6), ("validation", 2), ("test", 2))}
    assert dataset(stage)["classes"] == ["cats", "dogs"] and dataset(stage)["split"] == "by kpipe"
    assert not stage.notices


def test_the_manifest_reads_back_as_written(tmp_path):
    stage = ingested(tmp_path, by_class(tmp_path / "pets"))
    items = manifest.read(stage.out / "manifest.csv")
    manifest.write(tmp_path / "again.csv", items)
    assert (tmp_path / "again.csv").read_bytes() == (stage.out / "manifest.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("source", ["folder", "sample:digits"])
def test_the_same_stage_twice_gives_the_same_bytes_with_and_without_memo(tmp_path, source):
    where = by_class(tmp_path / "pets") if source == "folder" else source
    first, second = (ingested(tmp_path / str(n), where) for n in (1, 2))
    third = ingested(tmp_path / "1", where, name="again")
    contents = [{p.name: p.read_bytes() for p in stage.out.iterdir()} for stage in (first, second, third)]
    assert contents[0] == contents[1] == contents[2]
    assert str(tmp_path).encode() not in b"".join(contents[0].values())


@pytest.mark.parametrize(
    "names",
    [("train", "validation", "test"), ("train", "val", "test"), ("Train", "valid", "TEST"), ("Training", "val", "Testing")],
)
def test_folders_that_are_split_stay_as_they_are(tmp_path, names):
    stage = ingested(tmp_path, split_folders(tmp_path / "pets", names))
    to_split = dict(zip(names, ("train", "validation", "test"), strict=True))
    assert all(
        row["split"] == to_split[row["path"].split("/")[0]] and row["label"] == row["path"].split("/")[1] for row in rows(stage)
    )
    assert dataset(stage)["split"] == "as found"


def test_a_missing_test_folder_is_drawn_from_train_and_said(tmp_path):
    stage = ingested(tmp_path, split_folders(tmp_path / "pets", ("train", "val"), each=10), test=0.2)
    assert dataset(stage)["counts"] == {s: {"cats": n, "dogs": n} for s, n in (("train", 8), ("validation", 10), ("test", 2))}
    assert all(row["path"].startswith("train/") for row in rows(stage) if row["split"] == "test")
    assert dataset(stage)["split"] == "as found, test drawn from train by kpipe"


@pytest.mark.parametrize(("layout", "top"), [(by_class, ""), (split_folders, "train/")])
def test_files_in_deeper_folders_belong_to_the_class_above_and_this_is_said(tmp_path, layout, top):
    source = layout(tmp_path / "pets")
    picture(source / top / "cats" / "tabby" / "old" / "x.png", 77)
    stage = ingested(tmp_path, source)
    assert [row["label"] for row in rows(stage) if row["path"] == f"{top}cats/tabby/old/x.png"] == ["cats"]
    assert stage.notices == [
        f"files in folders below their class folder are taken into the class above: 1, in {top}cats/tabby/old"
    ]


def test_splits_of_other_names_are_suspected_where_all_folders_have_the_same_classes(tmp_path):
    stage = ingested(tmp_path, split_folders(tmp_path / "pets", ("seg_test", "seg_train")))
    assert stage.notices[0].endswith("; if cats, dogs are the classes, call seg_test, seg_train train, validation or test")
    picture(tmp_path / "pets" / "seg_test" / "0.png", 77)
    assert "call" not in ingested(tmp_path, tmp_path / "pets", name="b").notices[0]


def test_a_folder_around_the_classes_is_refused_before_anything_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "prepare", None)
    by_class(tmp_path / "pets" / "PetImages")
    with pytest.raises(StageError, match=r"pets: only one class \(PetImages\)") as caught:
        ingested(tmp_path, tmp_path / "pets")
    assert caught.value.hint == "if its folders (cats, dogs) are the classes, give pets/PetImages"


@pytest.mark.parametrize(("layout", "top"), [(by_class, ""), (split_folders, "train/")])
def test_files_in_deeper_folders_are_refused_where_asked(tmp_path, layout, top):
    source = layout(tmp_path / "pets")
    assert not ingested(tmp_path, source, nested="error").notices
    picture(source / top / "cats" / "tabby" / "x.png", 77)
    with pytest.raises(StageError, match=f"pets: files that lie deeper than their class folder: 1, in {top}cats/tabby") as caught:
        ingested(tmp_path, source, name="b", nested="error")
    assert 'nested = "join"' in (caught.value.hint or "")


def test_two_names_are_never_shown_as_one(tmp_path):
    names = [b"a\\xff.png", b"a\xff.png", "a\u00ff.png".encode(), b"a\\n.png", b"a\n.png", b"\x80.png", "\x80.png".encode()]
    names += ["\u00e9.png".encode(), "e\u0301.png".encode(), b"a\\u0080.png", b"a\\\\n.png", ("x" * 251 + ".png").encode()]
    source = by_class(tmp_path / "pets")
    for number, name in enumerate(names):
        picture(source / "cats" / "made.png", 50 + number)
        os.rename(source / "cats" / "made.png", os.fsencode(source / "cats") + b"/" + name)
    found = rows(ingested(tmp_path, source))
    assert len({row["path"] for row in found}) == len({row["hash"] for row in found}) == 20 + len(names)


@pytest.mark.parametrize("background", ["white", "black", [200, 0, 10]])
def test_transparency_is_composited_over_the_background_asked_for(tmp_path, background):
    source = by_class(tmp_path / "pets")
    Image.new("RGBA", (9, 9)).save(source / "cats" / "clear.png")
    ingested(tmp_path, source, background="white" if background == "black" else "black")  # another one is in the memo
    stage = ingested(tmp_path, source, name="b", background=background)
    row = next(int(row["row"]) for row in rows(stage) if row["path"] == "cats/clear.png")
    expected = {"white": [255, 255, 255], "black": [0, 0, 0]}.get(str(background), background)
    assert (np.load(stage.out / "images.npy")[row] == expected).all()
    assert dataset(stage)["background"] == background


def test_hidden_and_system_entries_are_ignored_at_any_depth_and_counted(tmp_path):
    source = by_class(tmp_path / "pets")
    (source / ".DS_Store").write_bytes(b"x")
    (source / "cats" / "._0.png").write_bytes(b"x")
    (source / "cats" / "Thumbs.db").write_bytes(b"x")
    picture(source / "cats" / ".ipynb_checkpoints" / "0.png", 5)
    picture(source / "__MACOSX" / "cats" / "0.png", 5)
    picture(source / "dogs" / "@eaDir" / "0.png" / "SYNOPHOTO_THUMB_M.jpg", 5)
    (source / "cats" / "deep").mkdir()
    (source / "cats" / "deep" / ".hidden").write_bytes(b"x")
    stage = ingested(tmp_path, source)
    assert audit(stage)["ignored"] == 7 and audit(stage)["images"] == 20 and not audit(stage)["skipped"]
    assert dataset(stage)["classes"] == ["cats", "dogs"]


def bad_files(source):
    (source / "cats" / "empty.jpg").write_bytes(b"")
    (source / "cats" / "page.JPG").write_bytes(b"<html>404</html>")
    whole = (source / "dogs" / "0.png").read_bytes()
    (source / "dogs" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (source / "dogs" / "notes.txt").write_text("a dog")
    return source


def test_bad_images_are_skipped_and_named_with_their_reason(tmp_path):
    stage = ingested(tmp_path, bad_files(by_class(tmp_path / "pets")))
    skipped = {s["path"]: s["reason"] for s in audit(stage)["skipped"]}
    assert skipped == {"cats/empty.jpg": "empty file", "cats/page.JPG": "an HTML page, not an image", "dogs/cut.png": "truncated"}
    assert audit(stage)["others"] == ["dogs/notes.txt"] and audit(stage)["files"] == 24
    assert stage.notices == [
        "3 of 23 images skipped: cats/empty.jpg (empty file), cats/page.JPG (an HTML page, not an image), "
        "dogs/cut.png (truncated)"
    ]


@pytest.mark.slow
def test_a_folder_that_is_diagnosed_names_what_it_skips_too(tmp_path):
    stage = Stage(out=tmp_path / "out")
    folder.read(stage, bad_files(by_class(tmp_path / "pets")), (8, 8))
    assert stage.notices[0].startswith("3 of 23 images skipped: cats/empty.jpg (empty file), ")


def test_a_damaged_image_without_an_image_suffix_is_bad_all_the_same(tmp_path):
    source = by_class(tmp_path / "pets")
    whole = (source / "dogs" / "0.png").read_bytes()
    (source / "dogs" / "cut").write_bytes(whole[: len(whole) // 2])
    assert audit(ingested(tmp_path, source))["skipped"] == [{"path": "dogs/cut", "reason": "truncated"}]


def test_a_notice_names_the_first_few_of_many(tmp_path):
    source = by_class(tmp_path / "pets")
    for i in range(9):
        (source / "cats" / f"z{i}.jpg").write_bytes(b"")
    assert ingested(tmp_path, source).notices[0].endswith("cats/z2.jpg (empty file) and 6 more")


def test_bad_images_are_fatal_where_asked(tmp_path):
    source = bad_files(by_class(tmp_path / "pets"))
    with pytest.raises(StageError, match=r"3 of 23 images cannot be read: cats/empty.jpg \(empty file\)") as caught:
        ingested(tmp_path, source, on_bad_image="error")
    assert "on_bad_image" in (caught.value.hint or "")


def test_a_text_file_alone_is_not_fatal(tmp_path):
    source = by_class(tmp_path / "pets")
    (source / "README.md").write_text("where they come from")
    (source / "cats" / "labels.csv").write_text("0")
    stage = ingested(tmp_path, source, on_bad_image="error")
    assert audit(stage)["others"] == ["README.md", "cats/labels.csv"]


def test_pipes_sockets_and_broken_links_are_named_and_never_opened(tmp_path):
    source = by_class(tmp_path / "pets")
    os.mkfifo(source / "cats" / "pipe.jpg")
    (source / "cats" / "gone.jpg").symlink_to("nowhere.jpg")
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(source / "cats")
        server.bind("s.jpg")
        os.chdir(here)
        stage = ingested(tmp_path, source)
    assert {s["path"]: s["reason"] for s in audit(stage)["skipped"]} == {
        "cats/gone.jpg": "broken link", "cats/pipe.jpg": "not a regular file", "cats/s.jpg": "not a regular file",
    }  # fmt: skip


def test_links_are_followed_and_circles_end(tmp_path):
    picture(tmp_path / "elsewhere" / "a.png", 3)
    source = by_class(tmp_path / "pets")
    (source / "cats" / "more").symlink_to(tmp_path / "elsewhere")
    (source / "cats" / "again").symlink_to(source)
    found = find(source)
    assert "cats/more/a.png" in [c.name for c in found.candidates]
    assert found.unusable == [("cats/again", "link to a folder above it")]


def test_circles_of_links_and_folders_that_link_to_each_other_end(tmp_path):
    source = by_class(tmp_path / "pets")
    (source / "cats" / "a").symlink_to("b")
    (source / "cats" / "b").symlink_to("a")
    (source / "cats" / "self").symlink_to("self")
    for one in range(12):  # 12! ways through them
        (source / "dogs" / f"d{one}").mkdir()
        for other in range(12):
            if one != other:
                (source / "dogs" / f"d{one}" / f"to{other}").symlink_to(source / "dogs" / f"d{other}")
    found = find(source)
    reasons = dict(found.unusable)
    assert [reasons[f"cats/{name}"] for name in ("a", "b", "self")] == ["too many levels of symbolic links"] * 3
    assert len(found.folders) < 3000 and "link to a folder that another link led to" in reasons.values()


def test_a_tree_deeper_than_the_interpreters_stack_is_walked(tmp_path):
    source = by_class(tmp_path / "pets")
    deep = source / "cats" / "/".join("d" * 600)
    deep.mkdir(parents=True)
    picture(deep / "x.png", 77)
    assert len(rows(ingested(tmp_path, source))) == 21


def test_names_with_spaces_umlauts_and_broken_bytes_are_kept_apart(tmp_path):
    source = by_class(tmp_path / "pets")
    picture(source / "cats" / "ein schöner Kater, 1.png", 3)
    os.rename(source / "cats" / "0.png", os.fsencode(source / "cats") + b"/bad\xff\n.png")
    paths = [row["path"] for row in rows(ingested(tmp_path, source))]
    assert "cats/ein schöner Kater, 1.png" in paths and "cats/bad\\xff\\n.png" in paths


def test_upper_case_suffixes_and_mixed_formats_are_counted(tmp_path):
    source = by_class(tmp_path / "pets")
    Image.new("L", (9, 9), 7).save(source / "cats" / "a.JPG", format="JPEG")
    Image.new("RGBA", (9, 9)).save(source / "dogs" / "b.Gif", format="WEBP", lossless=True)
    found = audit(ingested(tmp_path, source))
    assert found["formats"] == {"JPEG": 1, "PNG": 20, "WEBP": 1} and found["modes"] == {"L": 1, "RGB": 20, "RGBA": 1}
    assert found["sizes"] == {"min": [9, 9], "median": [12, 10], "max": [12, 10]}


def test_copies_across_splits_are_counted_and_said(tmp_path):
    source = split_folders(tmp_path / "pets")
    (source / "test" / "cats" / "copy.png").write_bytes((source / "train" / "cats" / "0.png").read_bytes())
    (source / "train" / "dogs" / "twin.png").write_bytes((source / "train" / "dogs" / "1.png").read_bytes())
    (source / "train" / "dogs" / "cat.png").write_bytes((source / "train" / "cats" / "1.png").read_bytes())
    stage = ingested(tmp_path, source)
    found = audit(stage)["duplicates"]
    assert (found["across_splits"], found["within"], found["conflicting"]) == (1, 2, 1)
    assert found["pairs"][0] == ["test/cats/copy.png", "train/cats/0.png"]
    assert any("more than one split" in notice for notice in stage.notices)


def test_a_file_is_decoded_once_and_only_new_ones_later(tmp_path, monkeypatch):
    seen = []
    real = decoded.prepare
    monkeypatch.setattr(decoded, "prepare", lambda path, *how: seen.append(path.name) or real(path, *how))
    source = bad_files(by_class(tmp_path / "pets"))
    ingested(tmp_path, source, name="a")
    assert len(seen) == 24
    picture(source / "cats" / "new.png", 4711)
    (source / "cats" / "0.png").rename(source / "cats" / "renamed.png")
    stage = ingested(tmp_path, source, name="b", seed=5)
    assert seen[24:] == ["new.png"]
    for row in rows(stage):
        assert (np.load(stage.out / "images.npy")[int(row["row"])] == real(source / row["path"], (8, 8), "stretch").pixels).all()
    ingested(tmp_path, source, name="c", image_size=9)
    assert len(seen) == 25 + 25


def test_progress_tells_what_is_done_and_how_fast(tmp_path):
    told = []
    stage = Stage(out=tmp_path / "out", emit=told.append)
    ingest.run(stage, source=by_class(tmp_path / "pets"), image_size=8, split="exact")
    progress = [event for event in told if event["event"] == "progress"]
    last = {event["numbers"]["doing"]: (event["done"], event["total"]) for event in progress}
    assert last == dict.fromkeys(("hashing", "decoding", "looking", "writing"), (20, 20))
    assert all(e["numbers"]["files_per_second"] > 0 for e in progress if e["numbers"]["doing"] in ("hashing", "decoding"))


def test_a_file_that_changes_while_it_is_read_stops_the_stage(tmp_path, monkeypatch):
    source = by_class(tmp_path / "pets")
    real = decoded.prepare

    def meddling(path, *how):
        picture(path, 99)
        return real(path, *how)

    monkeypatch.setattr(decoded, "prepare", meddling)
    with pytest.raises(StageError, match="changed while it was read"):
        ingested(tmp_path, source)


def test_a_file_that_goes_away_while_it_is_read_is_named_and_not_remembered(tmp_path, monkeypatch):
    source = by_class(tmp_path / "pets")
    real = decoded.prepare

    def removing(path, *how):
        prepared = real(path, *how)
        if path.name == "0.png":
            path.unlink()
        return prepared

    monkeypatch.setattr(decoded, "prepare", removing)
    skipped = audit(ingested(tmp_path, source))["skipped"]
    assert [s["reason"] for s in skipped] == ["unreadable", "unreadable"]


def test_a_known_file_that_goes_away_while_others_are_decoded_stops_nothing(tmp_path, monkeypatch):
    source = by_class(tmp_path / "pets")
    ingested(tmp_path, source)
    picture(source / "cats" / "new.png", 4711)
    real = decoded.prepare
    monkeypatch.setattr(decoded, "prepare", lambda path, *how: (source / "dogs" / "3.png").unlink() or real(path, *how))
    stage = ingested(tmp_path, source, name="b")
    assert len(rows(stage)) == 21 and not audit(stage)["skipped"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_skipped_and_not_remembered(tmp_path):
    source = by_class(tmp_path / "pets")
    (source / "cats" / "0.png").chmod(0)
    assert audit(ingested(tmp_path, source))["skipped"] == [{"path": "cats/0.png", "reason": "permission denied"}]
    (source / "cats" / "0.png").chmod(0o644)
    assert not audit(ingested(tmp_path, source, name="b"))["skipped"]


def test_a_failed_read_is_not_remembered(tmp_path, monkeypatch):
    source = by_class(tmp_path / "pets")
    real = decoded.prepare

    def failing(path, *how):
        if path.name == "0.png":
            raise bad_images.Unreadable("input/output error")
        return real(path, *how)

    monkeypatch.setattr(decoded, "prepare", failing)
    assert len(audit(ingested(tmp_path, source))["skipped"]) == 2
    monkeypatch.setattr(decoded, "prepare", real)
    assert not audit(ingested(tmp_path, source, name="b"))["skipped"]


@pytest.mark.parametrize("size", [[8, 16], 12])
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_image_size_is_a_side_or_height_and_width(tmp_path, size, resize):
    stage = ingested(tmp_path, by_class(tmp_path / "pets"), image_size=size, resize=resize)
    height, width = size if isinstance(size, list) else (size, size)
    assert np.load(stage.out / "images.npy").shape == (20, height, width, 3)
    assert dataset(stage)["image_size"] == [height, width] and dataset(stage)["resize"] == resize


def test_channel_statistics_are_those_of_the_training_images(tmp_path):
    stage = ingested(tmp_path, by_class(tmp_path / "pets"))
    training = np.load(stage.out / "images.npy")[[int(r["row"]) for r in rows(stage) if r["split"] == "train"]] / 1.0
    assert np.allclose(audit(stage)["pixels"]["mean"], training.mean((0, 1, 2)), atol=1e-4)
    assert np.allclose(audit(stage)["pixels"]["std"], training.std((0, 1, 2)), atol=1e-4)


@pytest.mark.parametrize(
    ("make", "params", "words"),
    [
        (lambda f: f.mkdir(), {}, "pets: no class folders"),
        (lambda f: by_class(f, ("cats",)), {}, r"only one class \(cats\)"),
        (lambda f: (by_class(f), (f / "birds").mkdir()), {}, "no readable image of birds"),
        (lambda f: by_class(f, each=2), {}, "class 'cats' has 2 different images, too few for train, validation, test"),
        (lambda f: by_class(f), {"validation": 0.5, "test": 0.5}, "leave nothing to train on"),
        (lambda f: by_class(f), {"image_size": [8, 8, 3]}, "has 3 numbers"),
        (lambda f: split_folders(f, ("val", "test")), {}, "test, val but no train folder"),
        (lambda f: split_folders(f, ("train", "val", "valid", "test")), {}, "val, valid are both the validation folder"),
        (lambda f: split_folders(f, ("train", "test", "extra")), {}, "extra beside the split folders test, train"),
        (lambda f: (split_folders(f), picture(f / "test" / "birds" / "0.png", 1)), {}, "differ in their classes: birds only in test/"),
        (lambda f: (split_folders(f), picture(f / "train" / "birds" / "0.png", 1)), {}, "birds only in train/"),
        (lambda f: (split_folders(f), (f / "test" / "cats").rename(f / "test" / "Cats")), {}, "look alike: 'Cats' and 'cats'"),
        (lambda f: by_class(f, ("dogs", "Dogs")), {}, "look alike: 'Dogs' and 'dogs'"),
        (lambda f: by_class(f, ("caf\u00e9", "cafe\u0301")), {}, r"look alike: 'cafe\\u0301' and 'caf\\xe9'"),
        (lambda f: by_class(f, ("a", "b")), {"background": [1, 2]}, "background = .* has 2 numbers"),
        (lambda f: (split_folders(f, ("train", "val")), picture(f / "test" / "0.png", 1)), {}, "test/ has no class folders"),
        (lambda f: (split_folders(f), empty(f / "test" / "dogs")), {}, "no readable image of dogs in test"),
    ],
)  # fmt: skip
def test_data_that_cannot_work_ends_with_a_clear_error_and_a_hint(tmp_path, make, params, words):
    make(tmp_path / "pets")
    with pytest.raises(StageError, match=words) as caught:
        ingested(tmp_path, tmp_path / "pets", **params)
    assert caught.value.hint


def test_images_outside_the_class_folders_are_named(tmp_path):
    source = by_class(tmp_path / "pets")
    picture(source / "loose.png", 1)
    stage = ingested(tmp_path, source)
    assert audit(stage)["skipped"] == [{"path": "loose.png", "reason": "outside the class folders"}]


def test_a_picture_outside_the_class_folders_is_one_whatever_its_name(tmp_path):
    source = by_class(tmp_path / "pets")
    picture(source / "loose", 1)
    (source / "notes").write_text("none")
    found = audit(ingested(tmp_path, source))
    assert found["skipped"] == [{"path": "loose", "reason": "outside the class folders"}] and found["others"] == ["notes"]


def test_all_files_are_counted_where_a_sample_is_taken_and_few_are_listed(tmp_path):
    source = by_class(tmp_path / "pets")
    for number in range(60):
        (source / "cats" / f"{number}.txt").write_text("a cat")
    found = audit(ingested(tmp_path, source, subset=12))
    assert (found["files"], found["images"], found["unsampled"], found["other_files"]) == (80, 12, 8, 60)
    assert len(found["others"]) == 50


def test_a_class_may_be_called_train(tmp_path):
    stage = ingested(tmp_path, by_class(tmp_path / "vehicles", ("bus", "train")))
    assert dataset(stage)["classes"] == ["bus", "train"]


@pytest.mark.slow
def test_digits_are_the_1797_of_scikit_learn(tmp_path):
    from sklearn.datasets import load_digits

    stage = ingested(tmp_path, "sample:digits", image_size=32)
    array, found = np.load(stage.out / "images.npy"), rows(stage)
    assert array.shape == (1797, 32, 32, 3) and dataset(stage)["classes"] == [str(d) for d in range(10)]
    data = load_digits()
    index = [int(row["path"].split("/")[1]) for row in found]
    assert [int(row["label"]) for row in found] == data.target[index].tolist()
    blocks = array.reshape(1797, 8, 4, 8, 4, 3).mean((2, 4, 5)) / 255 * 16
    assert np.corrcoef(blocks.ravel(), data.images[index].ravel())[0, 1] > 0.95
    assert (array[..., 0] == array[..., 2]).all() and array.max() > 230


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="the shared photographs are not here")
def test_photographs_keep_the_split_of_the_book(tmp_path):
    stage = ingested(tmp_path, PHOTOGRAPHS, image_size=32)
    assert dataset(stage)["counts"] == {
        s: {"cats": n, "dogs": n} for s, n in (("train", 1000), ("validation", 500), ("test", 500))
    }
    assert audit(stage)["others"] == ["README.md"]
    assert audit(stage)["duplicates"]["near"]["pairs"] == [["train/dogs/dog.980.jpg", "validation/dogs/dog.1273.jpg"],
                                                           ["train/dogs/dog.180.jpg", "train/dogs/dog.74.jpg"]]  # fmt: skip
    assert [notice.split(";")[0] for notice in stage.notices] == ["1 image lies in more than one split as near copies"]


def test_shares_that_chance_left_far_off_are_said(tmp_path):
    stage = ingested(tmp_path, by_class(tmp_path / "pets"), split="stable")
    assert any('instead of 15.0%; split = "exact" comes closer' in notice for notice in stage.notices)
    assert ingested(tmp_path, tmp_path / "pets").notices == []


def test_folds_and_a_sample_stand_in_the_manifest(tmp_path):
    stage = ingested(tmp_path, by_class(tmp_path / "pets"), folds=3, subset=12)
    found = rows(stage)
    assert len(found) == 12 == len(np.load(stage.out / "images.npy"))
    assert {row["fold"] for row in found if row["split"] == "test"} == {"-1"}
    assert {row["fold"] for row in found if row["split"] != "test"} == {"0", "1", "2"}
    labels = Labels(stage.out, fold=1)
    assert [i.row for i in labels.items if i.split == "validation"] == [int(row["row"]) for row in found if row["fold"] == "1"]
    assert len(labels.rows("train")) + len(labels.rows("validation")) == 10 == 12 - len(labels.rows("test"))


@pytest.mark.parametrize(("folds", "fold", "said"), [(None, 0, "the images are in no folds"), (3, 3, "there are 3")])
def test_a_fold_that_there_is_not(tmp_path, folds, fold, said):
    stage = ingested(tmp_path, by_class(tmp_path / "pets"), folds=folds)
    with pytest.raises(StageError, match=said):
        Labels(stage.out, fold)
