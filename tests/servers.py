"""A web server of a folder for tests, that can be told to behave as bad ones do."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class WebServer:
    """Serves a folder at `url`. What it is to do is read anew for each request."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.etag = True
        self.last_modified = True
        self.ranges = False
        self.failures: list[int] = []  # states of the next answers
        self.cut: list[int] = []  # after so many bytes the next files end, the connection too
        self.password = ""
        self.asked: list[tuple[str, str]] = []  # method, path
        self.starts: list[int] = []  # where the parts of files that were asked for begin
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def files(self) -> list[str]:
        """Paths of the files that were read, in order."""
        return [path for method, path in self.asked if method == "GET" and not path.endswith("/")]

    @contextmanager
    def running(self) -> Iterator[WebServer]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.stop()
            thread.join()

    def stop(self) -> None:
        """Nothing answers at `url` any more."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[SimpleHTTPRequestHandler]:
        told = self

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(told.folder))

            def log_message(self, *args: Any) -> None:
                pass

            def send_header(self, keyword: str, value: str) -> None:
                if keyword != "Last-Modified" or told.last_modified:
                    super().send_header(keyword, value)

            def end_headers(self) -> None:
                path = Path(self.translate_path(self.path))
                if told.etag and path.is_file():
                    self.send_header("ETag", f'"{hashlib.md5(path.read_bytes()).hexdigest()}"')
                super().end_headers()

            def do_HEAD(self) -> None:
                self.answer(super().do_HEAD)

            def do_GET(self) -> None:
                self.answer(self.content)

            def answer(self, usual: Any) -> None:
                told.asked.append((self.command, self.path))
                if part := re.match(r"bytes=(\d+)-", self.headers.get("Range", "")):
                    told.starts.append(int(part[1]))
                if told.password and told.password not in f"{self.path} {self.headers.get('Authorization')}":
                    self.send_error(401)
                elif told.failures:
                    self.send_error(told.failures.pop(0))
                else:
                    usual()

            def content(self) -> None:
                path = Path(self.translate_path(self.path))
                asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if path.is_file() and ((told.ranges and asked) or told.cut):
                    content = path.read_bytes()
                    low, high = (
                        (int(asked[1]), int(asked[2] or len(content) - 1)) if told.ranges and asked else (0, len(content) - 1)
                    )
                    self.send_response(206 if told.ranges and asked else 200)
                    if told.ranges and asked:
                        self.send_header("Content-Range", f"bytes {low}-{high}/{len(content)}")
                    part = content[low : high + 1]
                    self.send_header("Content-Length", str(len(part)))
                    self.end_headers()
                    self.wfile.write(part[: told.cut.pop(0)] if told.cut else part)
                    self.close_connection = True
                else:
                    super().do_GET()

        return Handler


def aged(folder: Path) -> Path:
    """The folder, its files changed an hour ago: a time of change that is younger than two seconds is looked at twice."""
    for path in folder.rglob("*"):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 3600))
    return folder
