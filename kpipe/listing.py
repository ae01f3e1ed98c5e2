"""Looking at what lies behind a URL: level by level, several requests at once."""

from __future__ import annotations

import html
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

from kpipe.errors import RemoteError
from kpipe.filesystem import FileSystem
from kpipe.remote import COARSE_S, Seen, entry
from kpipe.urls import Url

AT_ONCE = 16  # requests
MOST_FILES, MOST_FOLDERS = 2_000_000, 200_000
DEEPEST = 30  # folders in each other


def look(url: Url) -> Seen:
    """What lies behind a URL now; looked at twice where a file was changed just now. RemoteError where it cannot be seen."""
    fs = FileSystem(url)
    seen = see(fs)
    if not seen.settled:
        time.sleep(COARSE_S)
        seen = see(fs)
    return seen


def see(fs: FileSystem) -> Seen:
    """One look."""
    if not (fs.url.web and fs.url.raw.endswith("/")):
        info = fs.info()
        if info["type"] != "directory":
            refuse_page(fs.url, info)
            return Seen("file", [entry("", info)])
    found = Listing(fs)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found.walk(pool)
        files = found.files.items()
        if fs.url.web:  # its pages of links tell names alone
            files = dict(zip(found.files, pool.map(fs.info, found.files), strict=True)).items()
    return Seen("folder", sorted(entry(tail, info) for tail, info in files), sorted(found.special))


class Listing:
    """What lies in a folder and in those below it."""

    def __init__(self, fs: FileSystem) -> None:
        self.fs = fs
        self.files: dict[str, Mapping[str, Any]] = {}  # tail -> what is told of it
        self.special: set[str] = set()
        self._linked: set[str] = set()  # folders that a link led to
        self._pages: dict[str, list[Any]] = {}  # what was told of each folder's content, without where it lies

    def walk(self, pool: ThreadPoolExecutor) -> None:
        """Level by level; links count as what they point to. RemoteError where there is no end of it."""
        folders, known, depth = [""], {""}, 0
        while folders:
            pages = zip(folders, pool.map(self.fs.inside, folders), strict=True)
            below = [tail for folder, page in pages if not self.leads_back(folder, page) for tail in self.sort(folder, page)]
            folders = [tail for tail in dict.fromkeys(below) if tail not in known]
            known.update(folders)
            depth += 1
            if depth > DEEPEST:
                raise RemoteError(f"{self.fs.url.shown}: more than {DEEPEST} folders in each other: {folders[0][:60]}...",
                                  hint="a link that leads back to a folder above?")  # fmt: skip
            if len(self.files) > MOST_FILES or len(known) > MOST_FOLDERS:
                what = f"{MOST_FILES:,} files" if len(self.files) > MOST_FILES else f"{MOST_FOLDERS:,} folders"
                raise RemoteError(f"{self.fs.url.shown}: more than {what}", hint="name a folder further down")

    def leads_back(self, folder: str, page: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a link led to a folder above it: to one that holds the very same."""
        self._pages[folder] = sorted(list(entry(last(str(info["name"])), info)[:3]) for info in page)
        parts = folder.split("/")[:-1]
        above = ["".join(f"{part}/" for part in parts[:depth]) for depth in range(len(parts))]
        back = folder in self._linked and any(self._pages[folder] == self._pages[place] for place in above)
        self.special |= {folder} if back else set()
        return back

    def sort(self, folder: str, page: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """Note the files of a folder; the folders in it."""
        for info in page:
            tail, kind = self.tail(str(info["name"]), folder), info["type"]
            if tail is None:
                continue
            if kind not in ("file", "directory"):
                info, kind = self.behind(tail, info)
                self._linked |= {f"{tail}/"} if kind == "directory" else set()
            if kind == "directory":
                yield f"{tail.rstrip('/')}/"
            elif kind == "file" and not (tail.endswith("/") and not info.get("size")):  # an object that stands for a folder
                self.files[tail] = info
            elif kind != "file":
                self.special.add(tail)

    def behind(self, tail: str, info: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
        """What a link points to."""
        try:
            info = self.fs.info(tail)
        except RemoteError:  # nothing
            return info, "broken"
        return info, str(info["type"])

    def tail(self, path: str, folder: str) -> str | None:
        """What of a path follows the URL; None where a page's link leads elsewhere, or to the folder itself."""
        base = self.fs.at(folder)
        base = base if base.endswith("/") else f"{base}/"
        if self.fs.url.web:
            path = html.unescape(path)
            if not path.startswith(base) or "?" in path or "#" in path:
                return None
        rest = path.removeprefix(base) if path.startswith(base) else last(path)
        if not rest or f"{path}/" == base:
            return None
        names = unquote(rest) if self.fs.url.web else rest
        if self.fs.url.web and names.split("/")[0] in ("", ".", ".."):
            return None
        if "\0" in names or {"", ".", ".."} & set(names.removesuffix("/").split("/")):
            raise RemoteError(f"{self.fs.url.shown}: {names!r} cannot be the name of a file here", hint="rename it")
        return folder + rest


def last(path: str) -> str:
    """The name at the end of a path."""
    return path.rstrip("/").rpartition("/")[2]


def refuse_page(url: Url, info: Mapping[str, Any]) -> None:
    """RemoteError where a web server answers with a page where a file was meant."""
    if info.get("mimetype") == "text/html" and not url.name.lower().endswith((".html", ".htm")):
        hint = "the URL of a folder ends with /; behind a login, give a link that needs none"
        raise RemoteError(f"{url.shown}: the server answers with a web page", hint=hint)
