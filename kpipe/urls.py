"""URLs in a pipeline file: which value is one, what of it may be shown, and what it pins."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from kpipe.digest import digest_value

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
PIN = re.compile(r"#(sha256|revision)=([^#]*)$")
SHA256 = re.compile(r"[0-9a-f]{64}")
IN_TEXT = re.compile(  # scheme, user and password (which may hold a slash), host and path, query
    r"([A-Za-z][A-Za-z0-9+.-]*://)([^/\s\"'?#:@]*:(?!\d*/)[^\s\"'?#]*@|[^/\s\"'?#]*@)?([^\s\"'?]*)(\?[^\s\"'#]*)?"
)
OPEN_USER = "github://"  # what stands before its @ is an owner and a repository
SIGNING = re.compile(  # names in a query that sign a request or give access, and do not say what is asked for
    r"x-(amz|goog|ms)-.*|awsaccesskeyid|googleaccessid|key-pair-id|policy|signature|sig|expires|.*token|.*key|auth.*|password"
    r"|s[eprtv]|spr|sk(oid|tid|t|e|s|v)|sdd|rs[a-z]{2}",
    re.IGNORECASE,
)
NO_PLACE = {  # protocols of fsspec that name no place which two processes see
    "memory": "lies in the memory of one process, and stages run in others",
    **dict.fromkeys(
        ("blockcache", "cached", "data", "dir", "filecache", "generic", "libarchive", "reference", "simplecache", "tar", "zip"),
        "is no place of its own; give the URL of the folder or of the archive itself",
    ),
}


@dataclass(frozen=True)
class Url:
    """What a pipeline file names by a URL."""

    raw: str = field(repr=False)  # to be opened, without its pin; may hold secrets
    shown: str  # without secrets, with the pin
    place: str  # digest of what is asked for, whoever asks
    sha256: str = ""  # pinned: the content of a file
    revision: str = ""  # pinned: a name for the content, by the person's word

    @property
    def web(self) -> bool:
        """Whether it is of the web, where names are percent-encoded and a folder is a page of links."""
        return self.raw.lower().startswith(("http://", "https://"))

    @property
    def name(self) -> str:
        """Its last part, as a file would be called."""
        return self.parts[-1]

    @property
    def parts(self) -> list[str]:
        """Protocol, host and folders, as names of folders here."""
        split = urlsplit(self.raw.partition("?")[0])
        path = unquote(split.path) if self.web else split.path + (f"#{split.fragment}" if split.fragment else "")
        return [part for part in (split.scheme, split.netloc.rpartition("@")[2], *path.split("/")) if part not in ("", ".", "..")]

    def below(self, folder: Path) -> Path:
        """Where its copy lies: two copies lie to each other as what they are copies of."""
        return folder.joinpath(*self.parts)


def is_url(value: str) -> bool:
    """Whether a path is none but a URL."""
    return URL.match(value) is not None


def local(value: str) -> str | None:
    """The path that a file:// URL names; None for any other."""
    if not value.lower().startswith(("file://", "local://")):
        return None
    split = urlsplit(value)
    if split.netloc not in ("", "localhost"):
        raise ValueError(f"{split.netloc} is another machine: a file URL has three slashes")
    return unquote(split.path)


def parse(value: str) -> Url:
    """The URL in a value; ValueError says what is wrong with it, without a secret."""
    shown, pin = masked(value), PIN.search(value)
    raw = value[: pin.start()] if pin else value
    kind, pinned = (pin[1], pin[2]) if pin else ("", "")
    if "::" in raw.partition("?")[0]:
        raise ValueError("protocols joined by :: are not read; give the URL of the folder or of the archive itself")
    split = urlsplit(raw)
    try:
        _ = split.port
    except ValueError:
        raise ValueError("its port is no number; percent-encode the signs : / @ ? # in a user or password") from None
    if split.scheme.lower() in NO_PLACE:
        raise ValueError(f"{split.scheme}:// {NO_PLACE[split.scheme.lower()]}")
    if kind == "sha256" and not SHA256.fullmatch(pinned.lower()):
        raise ValueError("#sha256= is followed by 64 hexadecimal digits")
    if kind == "revision" and not pinned.strip():
        raise ValueError("#revision= is followed by a name for what lies there now")
    user, _, host = split.netloc.rpartition("@")
    asked = sorted(pair for pair in parse_qsl(split.query, keep_blank_values=True) if not SIGNING.fullmatch(pair[0]))
    who = user if raw.startswith(OPEN_USER) else user.partition(":")[0]
    path = (
        split.path if split.scheme in ("http", "https") else split.path.rstrip("/")
    )  # on the web a / at the end is another page
    place = digest_value([split.scheme, who, host, path, split.fragment, [list(pair) for pair in asked]])
    return Url(raw, shown, place, pinned.lower() if kind == "sha256" else "", pinned if kind == "revision" else "")


def masked(text: str, same_length: bool = False) -> str:
    """A text without the users, passwords and queries of the URLs in it; stars stand for them."""

    def stars(secret: str | None, first: str, last: str) -> str:
        if not secret:
            return ""
        return first + "*" * (len(secret) - len(first) - len(last) if same_length else 3) + last

    def one(url: re.Match[str]) -> str:
        user = url[2] if url[2] and url[1] == OPEN_USER else stars(url[2], "", "@")
        return f"{url[1]}{user}{url[3]}{stars(url[4], '?', '')}"

    return IN_TEXT.sub(one, text) if "://" in text else text
