"""One tool in a toy project of its own, driven as a person would, and what it said and left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.benchmarks.faults.tools import KPIPE, Tool
from tests.benchmarks.peers import Peers
from tests.benchmarks.timing import Command, kpipe

PATIENCE_S = 120.0
LEFTOVERS_S = 5.0  # within this time a stage ends with its tool, where it does
INPUTS = {"data/first.txt": "one\n", "data/second.txt": "two\n"}
COMPLAINT = re.compile(r"corrupt|damage|mismatch|other content", re.IGNORECASE)


def page_of(first: str = "one", second: str = "two", word: str = "before") -> str:
    """What the page is to say."""
    return f"<p>{first} {word} {second}</p>"


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    text: str

    @property
    def complains(self) -> bool:
        """Whether it tells of damage."""
        return bool(COMPLAINT.search(self.text))


@dataclass
class Trial:
    """A project that one fault is done to."""

    tool: Tool
    folder: Path
    peers: Peers
    cached: bool = False  # with the cache that results are kept in only if that is asked for
    environment: dict[str, str] = field(default_factory=dict)  # of the tool's next run
    log: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Make the project and run it once."""
        for name in ("told", "data", "out", self.tool.code):
            (self.folder / name).mkdir(parents=True)
        name, text = self.tool.declaration
        code = {f"{self.tool.code}/{module}.py": text for module, text in self.tool.modules.items()}
        for path, content in {name: text, **code, **INPUTS}.items():
            self.write(path, content)
        if self.tool.name == "dvc":
            self.peers.begin_dvc(self.folder)
        (self.folder / ".results").mkdir()
        self.good_run()

    # what a person does

    def write(self, name: str, text: str) -> None:
        """Give a file another content."""
        (self.folder / name).write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        """Edit a file that is there."""
        text = (self.folder / name).read_text()
        if old not in text:
            raise RuntimeError(f"{name} has no {old!r}")
        self.write(name, text.replace(old, new))

    def edit_module(self, module: str, old: str, new: str) -> None:
        """Edit a module of the stages' code."""
        self.edit(f"{self.tool.code}/{module}.py", old, new)

    def command(self, *arguments: str) -> Command:
        """A command line of the tool, in the environment that a stage finds the measurement by."""
        name = self.tool.name
        found = kpipe(self.folder, *arguments) if self.tool is KPIPE else self.peers.command(name, self.folder, *arguments)
        own = {"FAULTS": str(self.folder / "told"), "PYTHONPATH": str(self.folder / "src")}
        own |= {"SNAKEMAKE_OUTPUT_CACHE": str(self.folder / ".results")} if self.cached else {}
        return replace(found, environment={**found.environment, **own, **self.environment})

    def run(self, *arguments: str) -> Said:
        """Run to the end, as the tool is ordinarily run where nothing else is asked for."""
        (self.folder / "told" / "ran").write_text("")
        return self.end(self.start(*arguments))

    def good_run(self) -> None:
        """Run before the fault; RuntimeError where the page is not what it is to be."""
        said = self.run()
        if said.code or self.page() != page_of():
            raise RuntimeError(f"{self.tool.name} does not make the toy project in {self.folder.name}: {said.text[-2000:]}")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it in a group of its own."""
        command = self.command(*(arguments or (*self.tool.run, *(self.tool.cache if self.cached else ()))))
        self.log.append("$ " + " ".join([self.tool.name, *command.arguments[3 if self.tool is KPIPE else 1 :]]))
        return subprocess.Popen(
            command.arguments,
            cwd=command.folder,
            env=dict(command.environment),
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def end(self, process: subprocess.Popen[str]) -> Said:
        """Wait for its end."""
        text, _ = process.communicate(timeout=PATIENCE_S)
        self.log += [text.rstrip(), f"exit code {process.returncode}; page: {self.page()}"]
        return Said(process.returncode, text)

    @contextmanager
    def amid(self, stage: str) -> Iterator[subprocess.Popen[str]]:
        """A run that waits in the middle of a stage, which has read its inputs and written half; it goes on afterwards."""
        told = self.folder / "told"
        (told / f"hold-{stage}").touch()
        (told / "ran").write_text("")
        process = self.start()
        until = time.monotonic() + PATIENCE_S
        while not (told / "waits").exists():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.tool.name} does not come to {stage}: {self.end(process).text[-2000:]}")
            time.sleep(0.02)
        try:
            yield process
        finally:
            (told / f"hold-{stage}").unlink()

    def kill(self, process: subprocess.Popen[str]) -> bool:
        """SIGKILL for the tool, then for everything else that is left of it; whether the stage ended with its tool."""
        stage = int((self.folder / "told" / "waits").read_text())
        process.kill()
        process.wait()
        until = time.monotonic() + LEFTOVERS_S
        while not (ended := gone(stage)) and time.monotonic() < until:
            time.sleep(0.02)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if not ended:
            with suppress(ProcessLookupError):
                os.kill(stage, signal.SIGKILL)
        self.log += ["killed", self.end(process).text]
        return ended

    # what is there afterwards

    def page(self) -> str | None:
        """The result as a person reads it."""
        path = self.folder / self.tool.page
        return path.read_text(errors="replace") if path.exists() else None

    def ran(self, stage: str) -> int:
        """How often a stage was run since the last command began that was waited for."""
        return (self.folder / "told" / "ran").read_text().split().count(stage)

    def stored(self) -> list[Path]:
        """The files that hold the page's bytes for the tool: its cache's; the page itself where it keeps no other."""
        page, content = self.folder / self.tool.page, (self.page() or "").encode()
        found = {p.resolve() for p in self.folder.rglob("*") if p.is_file() and p.read_bytes() == content}
        own = found - ({page} if not page.is_symlink() else set())
        return sorted(own or {page})


def gone(process: int) -> bool:
    """Whether a process has ended; one that only waits to be noticed has."""
    if sys.platform == "linux":
        with suppress(OSError):
            return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def overwrite(path: Path, content: bytes, unseen: bool) -> None:
    """Change a file's bytes in place; `unseen`: under the size, mtime and permissions that it had (the ctime cannot be kept)."""
    before = path.stat()
    path.chmod(before.st_mode | 0o200)
    path.write_bytes(content)
    if not unseen:
        return
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if path.stat().st_size != before.st_size:
        raise RuntimeError(f"{path} had {before.st_size} bytes")
