"""A data set in an archive: the same as the unpacked folder, and nothing that an archive can do harms."""

import io
import os
import stat
import tarfile
import zipfile

import pytest
from PIL import Image

from kpipe.stage import StageError
from stages.data import unpacking
from tests.stages.test_ingest import audit, by_class, dataset, ingested, picture, rows, split_folders

KINDS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]


def packed(folder, archive, top=""):
    """An archive of everything in a folder, folders included."""
    paths = sorted(folder.rglob("*"))
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path in paths:
                file.write(path, top + path.relative_to(folder).as_posix())
    else:
        with tarfile.open(archive, "w:" + archive.suffix.removeprefix(".").replace("tar", "")) as file:
            for path in paths:
                file.add(path, top + path.relative_to(folder).as_posix(), recursive=False)
    return archive


def zipped(archive, entries):
    """A ZIP archive of names and contents, as they are, beside one whole data set."""
    with zipfile.ZipFile(archive, "a") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return archive


def tarred(archive, members):
    with tarfile.open(archive, "w") as file:
        for member, content in members:
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return archive


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", [by_class, split_folders])
def test_an_archive_gives_what_the_folder_gives(tmp_path, kind, layout):
    source = layout(tmp_path / "pets")
    picture(source / "__MACOSX" / "x.png", 1)
    (source / ".hidden").write_text("x")
    with_bad = next(p for p in source.rglob("*.png") if "MACOSX" not in str(p)).parent
    (with_bad / "bad ü\n.jpg").write_bytes(b"")
    folder, archive = ingested(tmp_path, source), ingested(tmp_path, packed(source, tmp_path / f"pets.{kind}"), name="archive")
    assert (folder.out / "manifest.csv").read_bytes() == (archive.out / "manifest.csv").read_bytes()
    assert (folder.out / "images.npy").read_bytes() == (archive.out / "images.npy").read_bytes()
    assert audit(folder) == audit(archive) and folder.notices == archive.notices
    assert dataset(archive)["source"] == f"pets.{kind}"
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_single_folder_around_the_data_set_is_gone_into_and_said(tmp_path, kind):
    source = by_class(tmp_path / "pets")
    stage = ingested(tmp_path, packed(source, tmp_path / f"a.{kind}", top="outer/pets/"))
    assert stage.notices == [f"a.{kind}: the data set is the folder pets/ in it"]
    assert rows(stage) == rows(ingested(tmp_path, source, name="folder"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_files_beside_the_only_folder_are_told(tmp_path, kind):
    source = by_class(tmp_path / "pets" / "PetImages")
    picture(tmp_path / "pets" / "__MACOSX" / "PetImages" / "._0.png", 1)
    (tmp_path / "pets" / "licence.pdf").write_text("%PDF")
    picture(tmp_path / "pets" / "cover", 2)
    stage = ingested(tmp_path, packed(tmp_path / "pets", tmp_path / f"a.{kind}"))
    assert stage.notices == [
        f"a.{kind}: the data set is the folder PetImages/ in it",
        "1 of 21 images skipped: /cover (outside the class folders)",
    ]
    assert rows(stage) == rows(ingested(tmp_path, source, name="folder"))
    found = audit(stage)
    assert (found["others"], found["ignored"], found["files"], found["skipped"]) == (
        ["/licence.pdf"],
        1,
        22,
        [{"path": "/cover", "reason": "outside the class folders"}],
    )


def test_a_member_that_stands_twice_is_told(tmp_path):
    folder = by_class(tmp_path / "pets")
    contents = [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in sorted(folder.rglob("*.png"))]
    made = [(member(name), content) for name, content in [*contents, ("cats/0.png", contents[1][1])]]
    stage = ingested(tmp_path, tarred(tmp_path / "a.tar", made))
    assert audit(stage)["skipped"] == [{"path": "cats/0.png", "reason": "stands in the archive again; the last one is taken"}]
    first, second = rows(stage)[:2]
    assert first["hash"] == second["hash"]


def test_a_single_train_folder_is_not_gone_into(tmp_path):
    source = split_folders(tmp_path / "pets", ("train",), each=10)
    assert dataset(ingested(tmp_path, packed(source, tmp_path / "a.zip")))["split"].startswith("as found")


def test_the_content_tells_an_archive_and_not_the_name(tmp_path):
    archive = packed(by_class(tmp_path / "pets"), tmp_path / "a.zip").rename(tmp_path / "data.bin")
    assert len(rows(ingested(tmp_path, archive))) == 20


def test_backslashes_of_windows_part_names(tmp_path):
    source = by_class(tmp_path / "pets")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for path in source.rglob("*.png"):
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system = str(path.relative_to(source)).replace("/", "\\"), 0
            file.writestr(info, path.read_bytes())
    assert rows(ingested(tmp_path, tmp_path / "a.zip")) == rows(ingested(tmp_path, source, name="folder"))


@pytest.mark.parametrize("name", ["../evil.png", "cats/../../evil.png", "/tmp/kpipe-evil.png", "C:/evil.png", "C:\\evil.png"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name, kind):
    archive = zipped(tmp_path / "a.zip", {name: b"x"}) if kind == "zip" else tarred(tmp_path / "a.tar", [(member(name), b"x")])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StageError, match="would leave the folder") as caught:
        ingested(tmp_path, archive)
    assert caught.value.hint and not os.path.exists("/tmp/kpipe-evil.png")
    assert [p for p in tmp_path.rglob("*") if p not in before and p.is_file()] == []


def test_links_and_devices_are_named_and_never_made(tmp_path):
    source = by_class(tmp_path / "pets")
    outside = tmp_path / "outside"
    outside.mkdir()
    files = [(member(p.relative_to(source).as_posix()), p.read_bytes()) for p in source.rglob("*.png")]
    odd = [
        (member("cats/soft.png", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (member("cats/hard.png", tarfile.LNKTYPE, "cats/0.png"), b""),
        (member("dogs/way", tarfile.SYMTYPE, str(outside)), b""),
        (member("dogs/way/through.png"), b"x"),
        (member("cats/pipe", tarfile.FIFOTYPE), b""),
        (member("cats/disk", tarfile.BLKTYPE), b""),
    ]
    stage = ingested(tmp_path, tarred(tmp_path / "a.tar", [*odd, *files]))
    reasons = {s["path"]: s["reason"] for s in audit(stage)["skipped"]}
    assert reasons == {
        "cats/soft.png": "a link in an archive", "cats/hard.png": "a link in an archive", "dogs/way": "a link in an archive",
        "dogs/way/through.png": "not an image", "cats/pipe": "a device in an archive", "cats/disk": "a device in an archive",
    }  # fmt: skip
    assert not list(outside.iterdir()) and len(rows(stage)) == 20


def test_links_in_a_zip_are_named(tmp_path):
    packed(by_class(tmp_path / "pets"), tmp_path / "a.zip")
    info = zipfile.ZipInfo("cats/soft.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as file:
        file.writestr(info, "/etc/passwd")
    assert audit(ingested(tmp_path, tmp_path / "a.zip"))["skipped"] == [
        {"path": "cats/soft.png", "reason": "a link in an archive"}
    ]


@pytest.mark.parametrize("name", [f"cats/{'x' * 300}.png", "cats/" + "d/" * 1500 + "x.png"])
def test_a_name_too_long_or_too_deep_for_a_file_is_named(tmp_path, name):
    archive = zipped(packed(by_class(tmp_path / "pets"), tmp_path / "a.zip"), {name: b"x"})
    assert audit(ingested(tmp_path, archive))["skipped"][0]["reason"] == "a name that no file can have here"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz", "tar.bz2"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(unpacking, "SMALL", 2**20)
    source = by_class(tmp_path / "pets")
    (source / "cats" / "zeros.bmp").write_bytes(bytes(64 * 2**20))
    archive = packed(source, tmp_path / f"a.{kind}")
    assert archive.stat().st_size < 300_000
    with pytest.raises(StageError, match=r"unpacks to \d+ times its own size") as caught:
        ingested(tmp_path, archive)
    assert "give the folder" in (caught.value.hint or "")
    assert sum(p.stat().st_size for p in (tmp_path / "scratch").rglob("*") if p.is_file()) < 63 * 2**20


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(("cap", "value", "words"), [("MOST_ENTRIES", 10, "more than 10 entries"), ("MOST_BYTES", 1000, "1 kB")])
def test_entries_and_bytes_are_capped(tmp_path, kind, cap, value, words, monkeypatch):
    monkeypatch.setattr(unpacking, cap, value)
    with pytest.raises(StageError, match=words):
        ingested(tmp_path, packed(by_class(tmp_path / "pets"), tmp_path / f"a.{kind}"))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_archive_is_an_error(tmp_path, kind, share):
    whole = packed(by_class(tmp_path / "pets"), tmp_path / f"a.{kind}").read_bytes()
    whole = whole.rstrip(b"\0") if kind == "tar" else whole  # the padding may be cut
    (tmp_path / f"a.{kind}").write_bytes(whole[: int(len(whole) * share) | 1])
    with pytest.raises(StageError, match="damaged") as caught:
        ingested(tmp_path, tmp_path / f"a.{kind}")
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz"])
def test_a_checksum_that_is_missing_after_all_members_is_an_error(tmp_path, kind):
    whole = packed(by_class(tmp_path / "pets"), tmp_path / f"a.{kind}").read_bytes()
    (tmp_path / f"a.{kind}").write_bytes(whole[:-3])
    with pytest.raises(StageError, match="damaged"):
        ingested(tmp_path, tmp_path / f"a.{kind}")


def test_a_tar_that_ends_between_two_members_is_an_error(tmp_path):
    whole = packed(by_class(tmp_path / "pets"), tmp_path / "a.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as file:
        last = file.getmembers()[-1]
    (tmp_path / "a.tar").write_bytes(whole[: last.offset])
    with pytest.raises(StageError, match="its end is missing"):
        ingested(tmp_path, tmp_path / "a.tar")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_flipped_byte_is_an_error(tmp_path, kind):
    content = bytearray(packed(by_class(tmp_path / "pets"), tmp_path / f"a.{kind}").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / f"a.{kind}").write_bytes(content)
    with pytest.raises(StageError, match="damaged"):
        ingested(tmp_path, tmp_path / f"a.{kind}")


def test_a_password_is_said(tmp_path):
    content = bytearray(packed(by_class(tmp_path / "pets"), tmp_path / "a.zip").read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(StageError, match="protected by a password"):
        ingested(tmp_path, tmp_path / "a.zip")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_is_file_and_folder_is_an_error(tmp_path, kind):
    if kind == "zip":
        archive = zipped(tmp_path / "a.zip", {"cats": b"x", "cats/0.png": b"x"})
    else:
        archive = tarred(tmp_path / "a.tar", [(member("cats"), b"x"), (member("cats/0.png"), b"x")])
    with pytest.raises(StageError, match=r"cannot be unpacked: (not a directory|file exists)"):
        ingested(tmp_path, archive)


@pytest.mark.parametrize(
    ("start", "kind"), [(b"Rar!\x1a\x07\x01\x00", "RAR"), (b"7z\xbc\xaf'\x1c\x00\x04", "7-Zip"), (b"(\xb5/\xfd", "Zstandard")]
)
def test_archives_that_are_not_read_are_named(tmp_path, start, kind):
    (tmp_path / "pets").write_bytes(start + bytes(40))
    with pytest.raises(StageError, match=rf"pets is .*{kind}.*, which is not read") as caught:
        ingested(tmp_path, tmp_path / "pets")
    assert ".zip or .tar" in (caught.value.hint or "")


def test_an_image_is_no_archive(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(StageError, match=r"a.png is a file and no archive"):
        ingested(tmp_path, tmp_path / "a.png")
