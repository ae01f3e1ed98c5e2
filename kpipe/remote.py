"""What lies behind a URL, seen without reading it: names, sizes, and what tells one content of a file from another."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import unquote

from kpipe.digest import digest_value
from kpipe.urls import Url

VALIDATORS = (  # of a file's content, as file systems call them
    "sha256", "sha", "md5", "md5Hash", "content_md5", "Content-MD5", "Digest", "content_hash", "contentHash", "crc32c",
    "checksum", "blob_id", "ETag", "etag", "e_tag", "generation", "VersionId", "version_id",
)  # fmt: skip
TIMES = (  # of the last change
    "Last-Modified", "LastModified", "last_modified", "modified", "mtime", "updated", "modify", "modificationTime",
    "server_modified", "last_write_time",
)  # fmt: skip
COARSE_S = 2.0  # a file may change again within so much time and keep its time of change
Marks = Sequence[Sequence[str]]  # name, value


class Entry(NamedTuple):
    """A file below a URL."""

    tail: str  # what follows the URL, as its file system has it; empty: the URL names the file
    size: int | None
    marks: Marks  # what tells its content from another; empty: nothing does
    changed: float = 0.0  # seconds since 1970, where it is told

    def name(self, url: Url) -> str:
        """Its path below the URL's folder, as a person writes it."""
        return unquote(self.tail) if url.web else self.tail


@dataclass(frozen=True)
class Seen:
    """What was seen at one moment."""

    kind: str  # file or folder
    entries: Sequence[Entry]  # sorted
    special: Sequence[str] = ()  # tails of what is no file and no folder

    def digest(self, url: Url) -> str:
        """Another one where anything that lies there is another; times do not count where better is told."""
        rows = [[entry.tail, entry.size, [list(mark) for mark in entry.marks]] for entry in self.entries]
        return f"remote:{digest_value([url.place, self.kind, rows, list(self.special)])}"

    @property
    def unmarked(self) -> list[Entry]:
        """Files of which nothing tells whether they have changed."""
        return [entry for entry in self.entries if not entry.marks]

    @property
    def settled(self) -> bool:
        """Whether all times of change are old enough to be believed; those of a clock that is ahead never are."""
        return max((entry.changed for entry in self.entries), default=0.0) < time.time() - COARSE_S

    def to_json(self) -> dict[str, Any]:
        """What was seen as plain data, without times."""
        return {
            "kind": self.kind,
            "entries": [[entry.tail, entry.size, [list(mark) for mark in entry.marks]] for entry in self.entries],
            "special": list(self.special),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Seen:
        """What `to_json` told."""
        return cls(told["kind"], [Entry(tail, size, marks) for tail, size, marks in told["entries"]], told["special"])


def entry(tail: str, info: Mapping[str, Any]) -> Entry:
    """A file by what its file system tells of it."""
    size = info.get("size")
    told = {name: text(info[name]) for name in (*VALIDATORS, *TIMES) if info.get(name) not in (None, "")}
    strong = {name: value for name, value in told.items() if name in VALIDATORS and not value.startswith("W/")}
    moments = (moment(info[name]) for name in TIMES if name in told)
    return Entry(tail, size, sorted([name, value] for name, value in (strong or told).items()), max(moments, default=0.0))


def text(value: Any) -> str:
    """A validator or a time as text."""
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def moment(value: Any) -> float:
    """A time of change in seconds since 1970; now, where it is told in no form that is known, so that it is not believed."""
    try:
        if isinstance(value, (int, float)):
            return value / 1000 if value > 1e11 else float(value)
        if not isinstance(value, datetime):
            value = parsedate_to_datetime(value) if "," in value else datetime.fromisoformat(value)
        return float((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError):
        return time.time()
