"""What lies behind a URL: seen as it is, downloaded whole or not at all, once for each content."""

from __future__ import annotations

import os
import shutil
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.registry import known_implementations

from kpipe import copies, download, filesystem, listing
from kpipe.digest import digest_file
from kpipe.errors import RemoteError
from kpipe.listing import look
from kpipe.remote import Entry, Seen, moment
from kpipe.sources import Source
from kpipe.store import Store
from kpipe.urls import Url, parse
from kpipe.verification import verify
from kpipe.walk import entries
from tests.servers import WebServer, aged

BOTH = ("file", "folder")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (filesystem, download):
        monkeypatch.setattr(module, "WAITS", (0.0, 0.0, 0.0))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    """pets/ with four files, one of them hidden, served at web.url."""
    for name, text in {"cats/1.txt": "one", "cats/ä & b.txt": "two", "dogs/deep/3.txt": "three", "dogs/.hidden": "h"}.items():
        path = tmp_path / "served" / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with WebServer(aged(tmp_path / "served")).running() as server:
        yield server


@pytest.fixture
def memory() -> Iterator[Url]:
    """A file system that is in this process alone, and tells no more of a file than its size."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    fs.pipe({"/pets/cats/1.txt": b"one", "/pets/dogs/2.txt": b"two"})
    yield Url("memory://pets", "memory://pets", "place")
    fs.store.clear()


def names(url: Url) -> list[str]:
    return [entry.name(url) for entry in look(url).entries]


def digest(url: Url) -> str:
    return look(url).digest(url)


class Getter:
    """Downloads a URL into a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self.told: list[tuple[float, float]] = []

    def get(self, url: Url, offline: bool = False) -> Path:
        source = Source(url, BOTH, offline)
        identity = source.identity(self.store / "cache")
        into = self.store / "scratch"
        shutil.rmtree(into, ignore_errors=True)
        place, self.measures, self.notices = download.fetch(
            source, identity, self.store, into, lambda *told: self.told.append(told)
        )
        return place

    @property
    def kept(self) -> list[Path]:
        return [path for path in (self.store / "memo" / "remote").glob("*/*") if "." in path.name]


@pytest.fixture
def getter(tmp_path: Path) -> Getter:
    return Getter(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# seeing


def test_folder_of_the_web_is_seen_with_the_names_that_its_files_have(web: WebServer) -> None:
    url = parse(f"{web.url}/pets/")
    sizes = {entry.name(url): entry.size for entry in look(url).entries}
    assert sizes == {"cats/1.txt": 3, "cats/ä & b.txt": 3, "dogs/.hidden": 1, "dogs/deep/3.txt": 5}


def test_digest_changes_with_every_change_and_with_nothing_else(web: WebServer) -> None:
    url, pets = parse(f"{web.url}/pets/"), web.folder / "pets"
    seen = [digest(url)]
    assert digest(url) == seen[0]
    os.utime(pets / "cats" / "1.txt", (1, 1))
    assert digest(url) == seen[0]  # the ETag tells that it is the same
    (pets / "cats" / "1.txt").write_text("ONE")
    seen.append(digest(aged(web.folder) and url))
    (pets / "cats" / "1.txt").rename(pets / "cats" / "2.txt")
    seen.append(digest(url))
    (pets / "cats" / "2.txt").unlink()
    seen.append(digest(url))
    (pets / "dogs" / "cats").mkdir()
    (pets / "dogs" / "cats" / "new.txt").write_text("new")
    seen.append(digest(aged(web.folder) and url))
    assert len(set(seen)) == len(seen)


def test_without_an_etag_the_time_of_change_counts(web: WebServer) -> None:
    web.etag = False
    url, path = parse(f"{web.url}/pets/cats/1.txt"), web.folder / "pets" / "cats" / "1.txt"
    first = digest(url)
    path.write_text("ONE")  # of the same size
    os.utime(path, (1, 1))
    assert digest(url) != first


def test_weak_etag_is_not_believed_alone() -> None:
    told = {"size": 3, "ETag": 'W/"a"', "Last-Modified": "Thu, 01 Jan 1970 00:00:01 GMT"}
    marks = [list(mark) for mark in listing.entry("", told).marks]
    assert marks == [["ETag", 'W/"a"'], ["Last-Modified", "Thu, 01 Jan 1970 00:00:01 GMT"]]
    assert [list(mark) for mark in listing.entry("", told | {"ETag": '"a"'}).marks] == [["ETag", '"a"']]


@pytest.mark.parametrize("told", [1e9, 1e12, "Sun, 09 Sep 2001 01:46:40 GMT", "2001-09-09T01:46:40+00:00", "2001-09-09T01:46:40"])
def test_times_of_change_in_whatever_form(told: object) -> None:
    assert moment(told) == 1e9


def test_file_that_changed_just_now_is_looked_at_again(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within two seconds it may change once more and keep its time of change."""
    url, path = parse(f"{web.url}/pets/cats/1.txt"), web.folder / "pets" / "cats" / "1.txt"
    web.etag = False
    now = int(time.time())
    os.utime(path, (now, now))

    def changed_meanwhile(seconds: float) -> None:
        assert seconds >= 2
        path.write_text("longer")
        os.utime(path, (now, now))

    monkeypatch.setattr(listing.time, "sleep", changed_meanwhile)
    assert look(url).entries[0].size == 6


def test_links_of_a_page_that_lead_elsewhere_are_not_followed(web: WebServer) -> None:
    page = """<html>../ <a href="../">up</a> <a href="/">top</a> <a href="?C=N;O=D">sort</a> <a href="#end">end</a>
    <a href="https://other.host/pets/x.txt">other</a> <a href="1.txt">one</a> <a href="/pets/cats/%C3%A4%20&amp;%20b.txt">two</a></html>"""
    (web.folder / "pets" / "cats" / "index.html").write_text(page)
    assert sorted(names(parse(f"{web.url}/pets/cats/"))) == ["1.txt", "ä & b.txt"]


def test_links_are_what_they_point_to_and_hidden_files_count_as_in_a_folder_here(tmp_path: Path, getter: Getter) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    for path in (folder / "a" / "1.txt", folder / ".hidden" / "2.txt", folder / "a" / ".3.txt", other / "4.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (folder / "link").symlink_to(other)
    (folder / "file").symlink_to(other / "4.txt")
    (folder / "broken").symlink_to(other / "nowhere")
    os.mkfifo(folder / "pipe")
    url = Url(f"file://{folder}", "folder", "place")
    here = {kind: [e.name for e in entries(str(folder)) if e.kind == kind] for kind in ("file", "broken", "special")}
    assert sorted(names(url)) == sorted(here["file"]) and "link/4.txt" in here["file"] and ".hidden/2.txt" in here["file"]
    assert sorted(look(url).special) == sorted([*here["broken"], *here["special"]]) == ["broken", "pipe"]
    assert sorted(contents(getter.get(url))) == sorted(here["file"])
    assert getter.notices == ["folder: left out, because they are no files: broken, pipe"]


def test_link_that_leads_back_to_a_folder_above_is_no_endless_walk(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text("x")
    (tmp_path / "a" / "top").symlink_to(tmp_path)
    (tmp_path / "a" / "to b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to a").symlink_to(tmp_path / "a")
    url = Url(f"file://{tmp_path}", "folder", "place")
    assert names(url) == ["a/a.txt", "a/to b/b.txt", "b/b.txt", "b/to a/a.txt"]
    assert list(look(url).special) == ["a/to b/to a/", "a/top/", "b/to a/to b/", "b/to a/top/"]


def test_folders_of_the_web_without_an_end_are_an_error(web: WebServer) -> None:
    (web.folder / "pets" / "dogs" / "loop").symlink_to(web.folder / "pets")
    with pytest.raises(RemoteError, match="more than 30 folders in each other: dogs/loop/dogs/loop/") as caught:
        look(parse(f"{web.url}/pets/"))
    assert "a link that leads back" in str(caught.value.hint)


def test_name_that_would_leave_the_folder_is_an_error(memory: Url) -> None:
    fsspec.filesystem("memory").store["/pets/../x.txt"] = fsspec.filesystem("memory").store["/pets/cats/1.txt"]
    with pytest.raises(RemoteError, match="cannot be the name of a file here"):
        look(memory)


@pytest.mark.parametrize("path", ["pets", "pets/none.txt", "pets/none/"])
def test_what_is_not_there_or_is_a_page_is_an_error_that_says_so(web: WebServer, path: str) -> None:
    says = "answers with a web page" if path == "pets" else "there is nothing at this address"
    with pytest.raises(RemoteError, match=says) as caught:
        look(parse(f"{web.url}/{path}"))
    assert ("ends with /" in str(caught.value.hint)) == (path == "pets")


def test_failure_that_passes_is_tried_again_and_one_that_does_not_is_an_error_at_once(web: WebServer) -> None:
    url = parse(f"{web.url}/pets/cats/1.txt")
    web.failures = [503, 503, 429, 503]  # fsspec asks twice
    assert look(url).entries[0].size == 3
    web.asked.clear()
    web.failures = [403, 403]
    with pytest.raises(RemoteError, match=r"access is denied \(403\)") as caught:
        look(url)
    assert len(web.asked) == 2 and "~/.config/fsspec" in str(caught.value.hint)
    web.failures = [500] * 99
    with pytest.raises(RemoteError, match="the server answers 500"):
        look(url)


def test_server_that_is_not_there_is_an_error_that_names_the_way_out(tmp_path: Path) -> None:
    server = WebServer(tmp_path)
    url = parse(f"{server.url}/pets/")
    server._server.server_close()
    with pytest.raises(RemoteError, match="cannot be reached") as caught:
        look(url)
    assert "--offline" in str(caught.value.hint)


def test_protocol_that_is_unknown_or_whose_package_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RemoteError, match="no protocol htps://") as caught:
        look(parse("htps://host/pets.zip"))
    assert caught.value.hint == "did you mean https://?"
    missing = {"class": "no_such_package.FileSystem", "err": "Install it"}
    monkeypatch.setitem(known_implementations, "s4", missing)
    with pytest.raises(RemoteError, match="the package for s4:// is missing") as caught:
        look(parse("s4://bucket/pets"))
    assert caught.value.hint == "pip install no_such_package"


# what enters the key


def test_files_of_which_nothing_tells_a_change_are_refused_unless_pinned(memory: Url, web: WebServer, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match=r"no time is there that would tell a change of cats/1.txt and 1 more") as caught:
        Source(memory, BOTH).identity(tmp_path)
    assert "#revision=" in str(caught.value.hint)
    web.etag = web.last_modified = False
    with pytest.raises(RemoteError, match="would tell a change of the file") as caught:
        Source(parse(f"{web.url}/pets/cats/1.txt"), BOTH).identity(tmp_path)
    assert "#sha256=" in str(caught.value.hint)


def test_pins_are_keys_without_a_look(tmp_path: Path) -> None:
    pinned = f"http://127.0.0.1:1/pets.zip#sha256={'a' * 64}"
    assert Source(parse(pinned), BOTH).identity(tmp_path) == "sha256:" + "a" * 64
    revisions = [
        Source(parse(f"http://127.0.0.1:1/{name}"), BOTH).identity(None)
        for name in ("a#revision=1", "a#revision=2", "b#revision=1")
    ]
    assert len(set(revisions)) == 3


def test_a_folder_where_a_file_is_asked_for_is_refused(web: WebServer, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="is a folder, not a file"):
        Source(parse(f"{web.url}/pets/"), ("file",)).identity(tmp_path)
    with pytest.raises(RemoteError, match="is a file, not a folder"):
        Source(parse(f"{web.url}/pets/cats/1.txt"), ("folder",)).identity(tmp_path)


def test_offline_is_what_was_seen_last(web: WebServer, tmp_path: Path) -> None:
    url = parse(f"{web.url}/pets/")
    with pytest.raises(RemoteError, match="has not been seen before"):
        Source(url, BOTH, offline=True).identity(tmp_path)
    assert Source(url, BOTH).last(tmp_path) == "never"
    before = Source(url, BOTH).identity(tmp_path)
    (web.folder / "pets" / "new.txt").write_text("new")
    web.stop()
    assert Source(url, BOTH, offline=True).identity(tmp_path) == before
    assert Source(url, BOTH).last(tmp_path).endswith("UTC")


# downloads


def test_what_comes_is_what_is_there(web: WebServer, getter: Getter) -> None:
    place = getter.get(parse(f"{web.url}/pets/"))
    assert place.name == "pets" and contents(place) == contents(web.folder / "pets")
    assert getter.measures["downloaded_bytes"] == 12
    file = getter.get(parse(f"{web.url}/pets/cats/1.txt"))
    assert (file.name, file.read_text()) == ("1.txt", "one")
    assert getter.measures["sha256"] == digest_file(web.folder / "pets" / "cats" / "1.txt")


def test_each_content_comes_once(web: WebServer, getter: Getter) -> None:
    url, pets = parse(f"{web.url}/pets/"), web.folder / "pets"
    getter.get(url)
    web.asked.clear()
    assert contents(getter.get(url)) == contents(pets)
    assert web.files() == [] and getter.measures["downloaded_bytes"] == 0
    (pets / "cats" / "1.txt").write_text("another")
    (pets / "dogs" / ".hidden").unlink()
    assert contents(getter.get(aged(web.folder) and url)) == contents(pets)
    assert web.files() == ["/pets/cats/1.txt"] and len(getter.kept) == 3  # what is gone there is gone here


def test_damaged_copy_comes_again(web: WebServer, getter: Getter) -> None:
    url = parse(f"{web.url}/pets/")
    getter.get(url)
    damaged = next(path for path in getter.kept if path.read_bytes() == b"three")
    damaged.chmod(0o644)
    damaged.write_bytes(b"thrEe")
    web.asked.clear()
    assert contents(getter.get(url)) == contents(web.folder / "pets")
    assert web.files() == ["/pets/dogs/deep/3.txt"]


def test_verify_finds_a_damaged_copy_and_sets_it_aside(web: WebServer, getter: Getter) -> None:
    getter.get(parse(f"{web.url}/pets/"))
    store = Store(getter.store)
    assert verify(store) == (4, [])
    damaged = next(path for path in getter.kept if path.read_bytes() == b"three")
    damaged.chmod(0o644)
    damaged.write_bytes(b"thrEe")
    assert [(found.what, found.path) for found in verify(store)[1]] == [("copy of a file behind a URL", damaged)]
    assert verify(store) == (3, []) and not damaged.exists()


@pytest.mark.slow
def test_verify_looks_at_every_copy_of_a_folder(web: WebServer, getter: Getter) -> None:
    for number in range(40):  # its threads must not take each other for a stage that has the folder
        (web.folder / "pets" / "cats" / f"many-{number}.bin").write_bytes(bytes([100 + number]) * 300_000)
    getter.get(parse(f"{web.url}/pets/"))
    kept = getter.kept
    for copy in kept:
        copy.chmod(0o644)
        copy.write_bytes(copy.read_bytes()[:-1] + b"!")
    assert len(kept) == 44 and {found.path for found in verify(Store(getter.store))[1]} == set(kept)


@pytest.mark.parametrize("ranges", [True, False])
def test_connection_that_breaks_goes_on_where_it_broke_or_from_the_beginning(
    web: WebServer, getter: Getter, ranges: bool
) -> None:
    large = web.folder / "large.bin"
    large.write_bytes(os.urandom(download.SMALL + 3_000_000))
    aged(web.folder)
    web.ranges, web.cut = ranges, [2_500_000, 1_000_000]
    assert getter.get(parse(f"{web.url}/large.bin")).read_bytes() == large.read_bytes()
    assert web.cut == [] and getter.told[-1][1] >= len(large.read_bytes())
    whole = len(web.files()) - len(web.starts)
    assert web.starts and min(web.starts) > 0 and (whole == 1 if ranges else whole > 1)


def test_file_that_never_comes_whole_is_an_error_and_the_others_stay(web: WebServer, getter: Getter) -> None:
    url = parse(f"{web.url}/pets/")
    web.cut = [1] * 99
    with pytest.raises(RemoteError, match=r"cannot be reached|did not come whole"):
        getter.get(url)
    assert all(path.read_bytes() == b"h" for path in getter.kept)  # the file of one byte
    web.cut = []
    assert contents(getter.get(url)) == contents(web.folder / "pets")


def test_change_between_the_look_and_the_download_is_an_error(web: WebServer, getter: Getter, tmp_path: Path) -> None:
    url = parse(f"{web.url}/pets/")
    identity = Source(url, BOTH).identity(tmp_path)
    (web.folder / "pets" / "cats" / "1.txt").write_text("another")
    with pytest.raises(RemoteError, match="has changed since the run began"):
        download.fetch(
            Source(aged(web.folder) and url, BOTH), identity, getter.store, getter.store / "scratch", lambda *told: None
        )


def test_pinned_content_is_checked(web: WebServer, getter: Getter) -> None:
    web.etag = web.last_modified = False
    right = digest_file(web.folder / "pets" / "cats" / "1.txt")
    assert getter.get(parse(f"{web.url}/pets/cats/1.txt#sha256={right}")).read_text() == "one"
    with pytest.raises(RemoteError, match=f"has the SHA-256 {right}"):
        getter.get(parse(f"{web.url}/pets/cats/1.txt#sha256={'0' * 64}"))


def test_revision_that_is_not_what_it_was_is_an_error(web: WebServer, getter: Getter) -> None:
    url = parse(f"{web.url}/pets/#revision=1")
    assert contents(getter.get(url)) == contents(getter.get(url)) == contents(web.folder / "pets")
    (web.folder / "pets" / "cats" / "1.txt").write_text("another")
    assert getter.notices == [f"{url.shown}: that this is revision 1 is taken for granted, and not looked at again"]
    with pytest.raises(RemoteError, match="has changed since it was first downloaded under this name"):
        getter.get(aged(web.folder) and url)
    assert contents(getter.get(parse(f"{web.url}/pets/#revision=2"))) == contents(web.folder / "pets")


def test_offline_takes_copies_and_gets_none(web: WebServer, getter: Getter) -> None:
    url = parse(f"{web.url}/pets/")
    getter.get(url)
    web.stop()
    assert contents(getter.get(url, offline=True)) == contents(web.folder / "pets")
    getter.kept[0].unlink()
    with pytest.raises(RemoteError, match="is not in the store, and cannot be read offline"):
        getter.get(url, offline=True)


def test_what_is_too_large_is_refused_before_it_comes(web: WebServer, getter: Getter, monkeypatch: pytest.MonkeyPatch) -> None:
    url = parse(f"{web.url}/pets/")
    monkeypatch.setattr(download, "MOST_BYTES", 11)
    with pytest.raises(RemoteError, match="has 12 B; at most 11 B are read"):
        getter.get(url)
    monkeypatch.undo()
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(11))
    with pytest.raises(RemoteError, match="12 B are to be downloaded, and 11 B are free") as caught:
        getter.get(url)
    assert "KPIPE_STORE" in str(caught.value.hint) and web.files() == []


def test_file_that_is_longer_than_was_said_is_an_error(memory: Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = filesystem.FileSystem(memory)
    for size in (2, None):
        monkeypatch.setattr(download, "MOST_BYTES", 2)
        with (tmp_path / "draft").open("w+b") as file, pytest.raises(RemoteError, match=r"cats/1.txt is longer than was said"):
            download.Download(fs, tmp_path, 3, lambda *told: None).read(Entry("cats/1.txt", size, ()), file)


def test_name_that_no_file_can_have_here_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "copy.0").write_text("x")
    url, entry = parse("s3://bucket/pets"), Entry("n" * 300, 1, ())
    with pytest.raises(RemoteError, match="cannot be the name of a file here: File name too long"):
        copies.linked(url, Seen("folder", [entry]), {copies.key(url, entry): tmp_path / "copy.0"}, tmp_path / "into")


def test_words_of_other_libraries_lose_the_secrets_of_the_url() -> None:
    url = parse("https://ann:pa%2F55@host/pets.zip?sig=to%2Fken&v=1")
    said = OSError("no answer to pa/55 (pa%2F55) at HOST for to/ken, sig=to%2Fken&v=1, nor to https://ann:pa%2F55@host/pets.zip")
    shown = filesystem.explained(said, url).message
    assert (
        not [secret for secret in ("pa/55", "pa%2F55", "to/ken", "to%2Fken") if secret in shown]
        and "no answer to *** (***) at HOST" in shown
    )


def test_no_secret_is_in_an_error_or_a_file(web: WebServer, getter: Getter) -> None:
    web.password = "YW5uOnBhNTVwYTU1"  # ann:pa55pa55 in base64
    host = web.url.removeprefix("http://")
    assert contents(getter.get(parse(f"http://ann:pa55pa55@{host}/pets/"))) == contents(web.folder / "pets")
    web.password = "pa55-in-query"
    signed = parse(f"{web.url}/pets/cats/1.txt?sig=pa55-in-query")
    assert getter.get(signed).read_text() == "one"
    written = b"".join(path.read_bytes() + bytes(path) for path in getter.store.rglob("*") if path.is_file())
    assert b"pa55" not in written
    web.password = "another"
    for url in (signed, parse(f"http://ann:pa55pa55@{host}/pets/"), parse("http://ann:pa55pa55@127.0.0.1:1/pets/")):
        with pytest.raises(RemoteError) as caught:
            look(url)
        assert "pa55" not in f"{caught.value} {caught.value.hint}"
