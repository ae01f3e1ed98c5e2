"""Files and folders behind URLs, as they enter a key: by what was seen of them when the run began."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpipe.errors import RemoteError
from kpipe.files import read_json, write_json
from kpipe.urls import Url, parse

if TYPE_CHECKING:
    from kpipe.remote import Seen

FOLDER = "remote"  # of the store's caches: what was seen last of each URL


@dataclass(frozen=True)
class Source:
    """A parameter whose value is a URL."""

    url: Url
    kinds: tuple[str, ...]  # file, folder: what the parameter may name
    offline: bool = False  # what was seen last is taken for what is there

    def identity(self, caches: Path | None) -> str:
        """What of it enters the key: a pin, or a digest of what can be seen. RemoteError where neither tells the content."""
        if self.url.sha256:
            return f"sha256:{self.url.sha256}"
        if self.url.revision:
            return f"revision:{self.url.place}:{self.url.revision}"
        return self.seen(caches).digest(self.url)

    def seen(self, caches: Path | None) -> Seen:
        """What lies there, by a look that is remembered below `caches`; offline, by the last one."""
        from kpipe.listing import look
        from kpipe.remote import Seen

        memory = caches / FOLDER / f"{self.url.place}.json" if caches else None
        told = read_json(memory) if memory else None
        known = Seen.from_json(told) if told else None
        if self.offline:
            if known is None:
                raise RemoteError(f"{self.url.shown} has not been seen before", hint="run once without --offline")
            return self.fitting(known)
        found = self.fitting(look(self.url))
        if memory:
            with suppress(OSError):  # a store that cannot be written to has no memory
                memory.touch() if found.to_json() == told else write_json(memory, found.to_json())
        return found

    def fitting(self, seen: Seen) -> Seen:
        """What was seen, if the parameter may name it and something tells its content."""
        if seen.kind not in self.kinds or (self.url.sha256 and seen.kind != "file"):
            wanted = "file" if self.url.sha256 else " or ".join(self.kinds)
            hint = "of a folder on the web the URL ends with /" if self.url.web else None
            raise RemoteError(f"{self.url.shown} is a {seen.kind}, not a {wanted}", hint=hint)
        if seen.unmarked and not (self.url.sha256 or self.url.revision):
            pin = "the URL of an archive, with #sha256=... behind it" if seen.kind == "folder" else "#sha256=... behind the URL"
            raise RemoteError(
                f"{self.url.shown}: no ETag and no time is there that would tell a change of {what(seen, self.url)}",
                hint=f"give {pin}; or #revision=NAME, another NAME whenever something changes",
            )
        return seen

    def last(self, caches: Path) -> str:
        """When it was seen last, in words."""
        try:
            looked = (caches / FOLDER / f"{self.url.place}.json").stat().st_mtime
        except OSError:
            return "never"
        return f"{datetime.fromtimestamp(looked, UTC):%Y-%m-%d %H:%M} UTC"

    def as_json(self, identity: str) -> dict[str, Any]:
        """For the worker that gets it; with the URL's secrets, so never for a file."""
        pin = self.url.shown.partition("#")[2] if self.url.sha256 or self.url.revision else ""
        return {
            "url": self.url.raw + (f"#{pin}" if pin else ""),
            "kinds": list(self.kinds),
            "offline": self.offline,
            "identity": identity,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Source:
        """What `as_json` told."""
        return cls(parse(told["url"]), tuple(told["kinds"]), told["offline"])


def what(seen: Seen, url: Url) -> str:
    """The files of which nothing tells whether they have changed, in words."""
    first = seen.unmarked[0].name(url)
    if not first:
        return "the file"
    return f"{first} and {len(seen.unmarked) - 1} more" if len(seen.unmarked) > 1 else first
