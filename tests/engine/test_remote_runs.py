"""Pipelines whose source is a URL: never stale, said clearly where nothing can be seen, and no secret shown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import ALL, Toy
from tests.servers import WebServer, aged

READS = """
from pathlib import Path
from kpipe.stage import File, Folder, Stage

def run(stage: Stage, *, source: Folder | File) -> None:
    files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
    (stage.out / "words.txt").write_text(" ".join(p.read_text() for p in files))
    (stage.out / "names.txt").write_text(" ".join([source.name, *stage.urls.values()]))
"""


@pytest.fixture
def web(tmp_path: Path, toy: Toy) -> Iterator[WebServer]:
    """The toy's data behind a URL; the file stays as it is."""
    (tmp_path / "served").mkdir()
    (toy.root / "data").rename(tmp_path / "served" / "data")
    toy.write("stages/load.py", READS)
    with WebServer(aged(tmp_path / "served")).running() as server:
        point(toy, f"{server.url}/data/")
        yield server


def point(toy: Toy, url: str) -> None:
    text = (toy.root / "pipeline.toml").read_text().splitlines()
    text = [f'source = "{url}"' if line.startswith("source = ") else line for line in text]
    toy.write("pipeline.toml", "\n".join(text) + "\n")


@pytest.mark.slow
def test_a_change_behind_the_url_runs_what_depends_on_it_and_nothing_else_does(toy: Toy, web: WebServer) -> None:
    assert toy.ran() == ALL
    assert toy.ran() == set()
    (web.folder / "data" / "2.txt").write_text("three words now")
    aged(web.folder)
    assert "load: run\n  file source changed\n" in toy.kpipe("explain", "load").out
    web.asked.clear()
    assert toy.ran() == ALL
    assert web.files() == ["/data/2.txt"]
    record = next(r for r in records(toy) if r["instance"] == "load" and "three" not in str(r))
    assert record["measures"]["source_downloaded_bytes"] in (6, 15) and len(record["measures"]["source_sha256"]) == 64


def records(toy: Toy) -> list[dict]:
    return [json.loads(path.read_text()) for path in (toy.root / ".kpipe" / "records").glob("*.json")]


@pytest.mark.slow
def test_unreachable_url_is_an_error_and_offline_takes_what_was_seen(toy: Toy, web: WebServer) -> None:
    toy.run()
    web.stop()
    result = toy.kpipe("run", "--keep-going")
    assert result.code == 1 and "error: load: http://127.0.0.1" in result.err and "cannot be reached" in result.err
    assert "--offline" in result.err and "Traceback" not in result.err
    assert toy.kpipe("plan").code == 1
    result = toy.kpipe("run", "--offline")
    assert result.code == 0 and "/data/ is taken as it was on 2" in result.err
    toy.write("stages/load.py", READS.replace('" ".join(p', '"-".join(p'))
    assert toy.ran("--offline") == ALL  # from the copies in the store


@pytest.mark.slow
def test_a_change_while_the_stage_runs_is_refused(toy: Toy, web: WebServer) -> None:
    edit = f"    Path({str(web.folder / 'data' / '2.txt')!r}).write_text('another')\n"
    toy.write("stages/load.py", READS + edit)
    result = toy.kpipe("run")
    assert result.code == 1 and "changed while it ran: file source changed" in result.err


def test_a_file_behind_a_url_has_its_name_and_a_pinned_one_needs_no_look(toy: Toy, web: WebServer) -> None:
    point(toy, f"{web.url}/data/1.txt#sha256=7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed")
    toy.run("--until", "load")
    folder = next(r["output_digest"] for r in records(toy))
    told = (toy.root / ".kpipe" / "objects" / folder / "names.txt").read_text()
    assert told.startswith("1.txt http://127.0.0.1") and "#sha256=7692" in told
    web.asked.clear()
    assert toy.ran("--until", "load") == set() and web.asked == []


@pytest.mark.slow
def test_secrets_are_in_nothing_that_is_written_or_said(toy: Toy, web: WebServer) -> None:
    web.password = "YW5uOnBhNTVwYTU1"
    secret = web.url.replace("http://", "http://ann:pa55pa55@") + "/data/"
    point(toy, "nowhere")
    said = [
        toy.kpipe(*args, f"--set=stages.load.params.source={secret}")
        for args in (("run",), ("plan",), ("explain", "load"), ("run", "--json"))
    ]
    assert [result.code for result in said] == [0, 0, 0, 0]
    web.password = "another"
    said.append(toy.kpipe("run", f"--set=stages.load.params.source={secret}"))
    said.append(toy.kpipe("run", f"--set=stages.load.params.source={secret}#sha256=1"))
    point(toy, f"{secret}#sha256=1")
    said += [toy.kpipe("run"), toy.kpipe("runs"), toy.kpipe("runs", "--json")]
    assert [result.code for result in said[4:]] == [1, 2, 2, 0, 0]
    assert "access is denied (401)" in said[4].err and 'source = "http://*********@' not in said[4].err
    column = next(line for line in said[6].err.splitlines() if "#sha256=1" in line and "|" in line)
    assert "http://************@127" in column
    point(toy, "nowhere")
    written = b"".join(path.read_bytes() + bytes(path) for path in toy.root.rglob("*") if path.is_file())
    assert b"pa55" not in written and not any("pa55" in result.out + result.err for result in said)


def test_wrong_url_is_an_error_of_the_file(toy: Toy, web: WebServer) -> None:
    point(toy, "memory://data")
    result = toy.kpipe("run")
    assert result.code == 2 and 'source = "memory://data": memory:// lies in the memory of one process' in result.err
    assert "--> pipeline.toml:" in result.err


def test_an_axis_is_not_named_by_a_secret(toy: Toy, web: WebServer) -> None:
    toy.edit("pipeline.toml", '{ name = "a", rate = 0.5 }', '{ name = "https://ann:pa55@host/", rate = 0.5 }')
    result = toy.kpipe("plan")
    assert result.code == 2 and "cannot name a branch" in result.err and "pa55" not in result.err


def test_file_url_is_a_path_here_and_memory_of_a_run_without_urls_holds_no_fsspec(toy: Toy) -> None:
    toy.run()
    point(toy, f"file://{toy.root}/data")
    assert toy.ran() == {"load"}  # another value of the parameter, the same artifact
    script = "import sys; from kpipe.cli import invoke; code = invoke(['run', '--json']); print(code, sorted({'fsspec', 'aiohttp', 'asyncio'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], cwd=toy.root, env=toy.command()[1], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "0 []"
