"""The file systems behind URLs, by fsspec, which is imported only where a pipeline file names a URL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import IO, Any, TypeVar
from urllib.parse import parse_qsl, unquote

from kpipe.errors import RemoteError, nearest
from kpipe.urls import OPEN_USER, Url, masked

WAITS = (0.5, 2.0, 5.0)  # seconds before a request that failed is tried again
CONNECT_S, SILENCE_S = 30, 60  # a web server that says nothing for so long is not waited for
BUSY = (408, 425, 429)  # of the states from 400 to 499, those that may pass
FOR_GOOD = (PermissionError, NotADirectoryError, IsADirectoryError, ImportError, NotImplementedError, ValueError, TypeError)
LONGEST = 200  # characters of another library's message
SHORTEST = 4  # characters of what is looked for in it as a secret
CREDENTIALS = "credentials are those of the protocol's own library: its environment variables and files, or ~/.config/fsspec"
NETWORK = "is there a network? with --offline, what was seen last is taken"
Result = TypeVar("Result")


class FileSystem:
    """The file system of a URL, and where on it the URL points. Every call asks anew; RemoteError where it fails."""

    def __init__(self, url: Url) -> None:
        self.url = url
        self.fs, self.top = opened(url)

    def at(self, tail: str) -> str:
        """The path of something below the URL, as the file system calls it."""
        return f"{self.top.rstrip('/')}/{tail}" if tail else self.top

    def info(self, tail: str = "") -> dict[str, Any]:
        """What is told of one path, a link followed."""
        return dict(self.patiently(lambda: self.fs.info(self.at(tail))))

    def inside(self, tail: str) -> list[dict[str, Any]]:
        """What is told of what lies in a folder."""
        return list(self.patiently(lambda: self.fs.ls(self.at(tail), detail=True)))

    def content(self, tail: str) -> bytes:
        """A whole file."""
        return bytes(self.fs.cat_file(self.at(tail)))

    def pieces(self, tail: str, offset: int, size: int) -> Iterator[bytes]:
        """A file from an offset on, piece by piece; ValueError where the server gives files from their beginning alone."""
        how: dict[str, Any] = {}
        if self.url.web:
            how = {"size": None, "cache_type": "readahead"} if offset else {"size": 1, "block_size": 0}  # 0: as one stream
        with self.fs.open(self.at(tail), "rb", **how) as file:
            source: IO[bytes] = file
            if offset:
                source.seek(offset)
            while piece := source.read(size):
                yield piece

    def patiently(self, ask: Callable[[], Result]) -> Result:
        """The answer to a question that is asked again where a failure may pass."""
        for wait in (*WAITS, None):
            try:
                self.fs.invalidate_cache()
                return ask()
            except Exception as e:  # each file system has errors of its own
                if wait is None or not passing(e):
                    raise explained(e, self.url) from None
                time.sleep(wait)
        raise AssertionError


def opened(url: Url) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the URL's path on it."""
    try:
        import fsspec
        from fsspec.registry import known_implementations as known
        from fsspec.registry import registry
    except ImportError:
        raise RemoteError(f"{url.shown}: a URL needs fsspec, which is missing", hint="pip install fsspec aiohttp") from None
    protocol = url.raw.partition("://")[0].lower()
    options: dict[str, Any] = {"skip_instance_cache": True}
    try:
        fsspec.get_filesystem_class(protocol)
        if url.web:
            import aiohttp

            limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
            set_by_hand = fsspec.config.conf.get(protocol, {}).get("client_kwargs", {})
            options["client_kwargs"] = {"timeout": limits, "trust_env": True, **set_by_hand}
        fs, path = fsspec.core.url_to_fs(url.raw, **options)
    except ImportError:
        package = known[protocol]["class"].partition(".")[0]
        needed = f"pip install {package}" if package != "fsspec" else known[protocol].get("err", "pip install fsspec aiohttp")
        needed = "pip install fsspec aiohttp" if url.web else needed
        raise RemoteError(f"{url.shown}: the package for {protocol}:// is missing", hint=needed) from None
    except Exception as e:
        if protocol not in {*known, *registry}:
            near = nearest(protocol, known)
            hint = f"did you mean {near}://?" if near else "for example https://, s3://, gs://, az://, hf:// or sftp://"
            raise RemoteError(f"{url.shown}: there is no protocol {protocol}://", hint=hint) from None
        raise explained(e, url) from None
    return fs, path


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, the last first: fsspec's web file system says "not found" of everything."""
    chain = [error]
    while (below := chain[-1].__cause__) and below not in chain:
        chain.append(below)
    return reversed(chain)


def status(error: BaseException) -> int | None:
    """The state that a web server gave."""
    found = getattr(error, "status", None)
    return found if isinstance(found, int) else None


def passing(error: BaseException) -> bool:
    """Whether a failure may be over a moment later."""
    first = next(causes(error))
    if (code := status(first)) is not None:
        return code >= 500 or code in BUSY
    if isinstance(first, (FileNotFoundError, *FOR_GOOD)):
        return False
    return isinstance(first, (OSError, EOFError)) or type(first).__module__.startswith("aiohttp")


def explained(error: BaseException, url: Url) -> RemoteError:
    """What went wrong, without the secrets of the URL."""
    first = next(causes(error))
    code = status(first)
    if isinstance(first, FileNotFoundError) or code in (404, 410):
        return RemoteError(f"{url.shown}: there is nothing at this address", hint="mend the address")
    if isinstance(first, PermissionError) or code in (401, 403, 407):
        return RemoteError(f"{url.shown}: access is denied{f' ({code})' if code else ''}", hint=CREDENTIALS)
    if code is not None:
        return RemoteError(f"{url.shown}: the server answers {code} {getattr(first, 'message', '')}".rstrip())
    text = next(iter(masked(hidden(str(first), url)).splitlines()), "")
    text = text if text and isinstance(first, OSError) else f"{type(first).__name__}: {text}".removesuffix(": ")
    hint = CREDENTIALS if "credential" in text.lower() else NETWORK
    return RemoteError(f"{url.shown}: cannot be reached ({text[:LONGEST]})", hint=hint)


def hidden(text: str, url: Url) -> str:
    """A text without the URL itself, which another library may have put into its message in its own way."""
    address, _, query = url.raw.partition("?")
    user = "" if address.startswith(OPEN_USER) else address.partition("://")[2].partition("/")[0].rpartition("@")[0]
    parts = [url.raw, query, user, user.partition(":")[2], *(value for _, value in parse_qsl(query))]
    for secret in sorted({form for part in parts for form in (part, unquote(part))}, key=len, reverse=True):
        text = text.replace(secret, "***") if len(secret) >= SHORTEST else text
    return text
