"""Data sets behind URLs: the same as here, whatever they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kpipe.download import fetch
from kpipe.sources import Source
from kpipe.stage import Stage, StageError
from kpipe.urls import parse
from stages import ingest
from tests.projects import copy_stages
from tests.servers import WebServer, aged
from tests.stages.test_archives import packed
from tests.stages.test_ingest import by_class, dataset, ingested, picture, rows


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    served = tmp_path / "served"
    by_class(served / "sets" / "pets")
    (served / "sets" / "pets" / ".thumbs").mkdir()
    picture(served / "sets" / "pets" / ".thumbs" / "x.png", 1)
    packed(served / "sets" / "pets", served / "pets.tar.gz")
    lines = [f"pets/{label}/{n}.png,{label}" for label in ("cats", "dogs") for n in range(10)]
    (served / "sets" / "pets.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    with WebServer(aged(served)).running() as server:
        yield server


def from_urls(tmp_path: Path, name: str, here: dict[str, Path] | None = None, **urls: str) -> Stage:
    """ingest as a worker runs it; `here` are parameters that are paths."""
    scratch, values = tmp_path / "scratch" / name, dict(here or {})
    for parameter, url in urls.items():
        source = Source(parse(url), ("file", "folder"))
        identity = source.identity(tmp_path / "store" / "cache")
        values[parameter] = fetch(source, identity, tmp_path / "store", scratch / "remote", lambda *told: None).path
    stage = Stage(out=tmp_path / name, scratch=scratch, store=tmp_path / "store", urls=urls)
    ingest.run(stage, image_size=8, split="exact", **values)  # type: ignore[arg-type]
    return stage


def same(stage: Stage, other: Stage, prefix: str = "") -> bool:
    pixels = (stage.out / "images.npy").read_bytes() == (other.out / "images.npy").read_bytes()
    return pixels and rows(stage) == [row | {"path": prefix + row["path"]} for row in rows(other)]


@pytest.mark.slow
def test_folder_and_archive_behind_a_url_are_what_they_are_here(tmp_path: Path, web: WebServer) -> None:
    here = ingested(tmp_path, web.folder / "sets" / "pets", name="here")
    there = from_urls(tmp_path, "there", source=f"{web.url}/sets/pets/")
    assert same(there, here) and (dataset(there)["name"], dataset(there)["source"]) == ("pets", f"{web.url}/sets/pets/")
    for name in ("audit.json", "duplicates.csv"):
        assert (there.out / name).read_bytes() == (here.out / name).read_bytes()  # hidden entries are counted too
    archive = from_urls(tmp_path, "archive", source=f"{web.url}/pets.tar.gz")
    assert same(archive, here) and dataset(archive)["name"] == "pets.tar.gz"


@pytest.mark.slow
def test_paths_of_a_table_are_relative_to_it_or_where_it_lies_elsewhere_to_the_images(tmp_path: Path, web: WebServer) -> None:
    here = ingested(tmp_path, web.folder / "sets" / "pets", name="here")
    images = f"{web.url}/sets/pets/"
    assert same(from_urls(tmp_path, "both", source=f"{web.url}/sets/pets.csv", images=images), here, "pets/")
    table = tmp_path / "own.csv"
    table.write_text((web.folder / "sets" / "pets.csv").read_text().replace("pets/", ""))
    assert same(from_urls(tmp_path, "images", {"source": table}, images=images), here)
    (web.folder / "own.csv").write_text(table.read_text())
    aged(web.folder)
    local = {"images": web.folder / "sets" / "pets"}
    assert same(from_urls(tmp_path, "table", local, source=f"{web.url}/own.csv"), here)
    other = f"{web.url.replace('127.0.0.1', 'localhost')}/own.csv"
    assert same(from_urls(tmp_path, "hosts", source=other, images=images), here)
    table.write_text("path,label\n../pets/cats/0.png,cats\n")
    with pytest.raises(StageError, match=r"line 2: ../pets/cats/0.png leaves images"):
        from_urls(tmp_path, "outside", {"source": table}, images=images)


@pytest.mark.slow
def test_a_pipeline_whose_source_is_a_url(tmp_path: Path, web: WebServer) -> None:
    project = tmp_path / "project"
    project.mkdir()
    copy_stages(project)
    (project / "pipeline.toml").write_text(
        f'[pipeline]\nname = "pets"\n[stages.ingest]\nrun = "stages.ingest"\n[stages.ingest.params]\nsource = "{web.url}/pets.tar.gz"\n'
        'image_size = 8\nsplit = "exact"\n'
    )
    environment = {name: value for name, value in os.environ.items() if name != "KPIPE_STORE"}

    def run(*args: str) -> dict:
        command = [sys.executable, "-m", "kpipe", "run", "--json", *args]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["instances"][0]

    first = run()
    size = (web.folder / "pets.tar.gz").stat().st_size
    assert first["status"] == "done" and first["measures"]["source_downloaded_bytes"] == size
    assert run()["status"] == "cached"
    resized = run("--set=stages.ingest.params.image_size=9")
    assert resized["status"] == "done" and resized["measures"]["source_downloaded_bytes"] == 0
    picture(web.folder / "sets" / "pets" / "cats" / "new.png", 77)
    packed(web.folder / "sets" / "pets", web.folder / "pets.tar.gz")
    aged(web.folder)
    again = run()
    assert again["status"] == "done" and [change["name"] for change in again["reasons"]] == ["image_size", "source"]
