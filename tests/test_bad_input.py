"""Bad input: exit code, one clear message with a hint, nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pictures import photo, write_splits

ROOT = Path(__file__).resolve().parents[1]

PIPELINE = """
[pipeline]
name = "bad"

[stages.ingest]
run = "stages.ingest"
[stages.ingest.params]
source = "photos"
image_size = 32

[stages.preprocess]
run = "stages.preprocess"
needs = ["ingest"]
params = { model = "vgg16" }

[stages.build]
run = "stages.build"
needs = ["preprocess"]
params = { model = "vgg16", weights = "random" }

[stages.train]
run = "stages.train"
needs = ["ingest", "preprocess", "build"]
params = { epochs = 2, batch_size = 8 }

[stages.report]
run = "stages.report"
needs = ["ingest", "preprocess", "build", "train"]
gather = true
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    (tmp_path / "pipeline.toml").write_text(PIPELINE)
    write_splits(tmp_path / "photos", counts={"train": 6, "validation": 4, "test": 4})
    return tmp_path


def run(project: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "KPIPE_STORE")}
    return subprocess.run(
        [sys.executable, "-m", "kpipe", "run", *args], cwd=project, env=environment, capture_output=True, text=True
    )


def check(done: subprocess.CompletedProcess[str], project: Path, code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1 and "hint:" in done.stderr
    assert [word for word in words if word not in done.stderr] == [], done.stderr
    assert not (project / "reports").exists()
    assert [p for p in (project / ".kpipe" / "staging").rglob("*") if p.is_file()] == []


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def missing_folder(project: Path) -> None:
    remove(project / "photos")


def empty_class(project: Path) -> None:
    for split in ("train", "validation", "test"):
        for path in (project / "photos" / split / "dogs").iterdir():
            path.unlink()


def one_class(project: Path) -> None:
    for split in ("train", "validation", "test"):
        remove(project / "photos" / split / "dogs")


def too_few(project: Path) -> None:
    remove(project / "photos")
    for name in ("cats", "dogs"):
        (project / "photos" / name).mkdir(parents=True)
        photo(0, 1).save(project / "photos" / name / "1.png")


def nothing_readable(project: Path) -> None:
    for path in (project / "photos").rglob("*.jpg"):
        path.write_text("<html>not found</html>")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (missing_folder, 2, ["pipeline.toml:8:10", "photos", "does not exist"]),
        (empty_class, 1, ["error: ingest:", "dogs"]),
        (one_class, 1, ["error: ingest:", "one class", "cats"]),
        (too_few, 1, ["error: ingest:", "cats"]),
        (nothing_readable, 1, ["error: ingest:"]),
    ],
)
def test_bad_folder(project: Path, spoil: Callable[[Path], None], code: int, words: list[str]) -> None:
    spoil(project)
    check(run(project), project, code, *words)


@pytest.mark.slow
def test_unreadable_image_is_skipped_and_named_or_fatal(project: Path) -> None:
    (project / "photos/train/cats/torn.jpg").write_bytes((project / "photos/train/cats/cats.0.jpg").read_bytes()[:300])
    done = run(project, "--until", "ingest")
    assert done.returncode == 0 and "train/cats/torn.jpg" in done.stderr
    assert "train/cats/torn.jpg" in run(project, "--until", "ingest").stderr  # said again on a cache hit
    fatal = run(project, "--until", "ingest", "--set", 'stages.ingest.params.on_bad_image="error"')
    assert fatal.returncode == 1 and "train/cats/torn.jpg" in fatal.stderr and "hint:" in fatal.stderr


@pytest.mark.slow
def test_image_smaller_than_the_network_takes_is_refused(project: Path) -> None:
    check(run(project, "--set", "stages.ingest.params.image_size=16"), project, 1, "VGG16 needs images of at least 32 x 32")


@pytest.mark.slow
def test_loss_that_is_not_finite_names_epoch_and_step(project: Path) -> None:
    check(
        run(project, "--set", "stages.train.params.learning_rate=1e25", "--set", "stages.train.params.unfreeze='all'"),
        project,
        1,
        "error: train:",
        "epoch",
        "learning_rate",
    )


@pytest.mark.slow
@pytest.mark.parametrize("spoil", ["truncated", "text", "other network"])
def test_weights_file_that_does_not_fit(project: Path, spoil: str) -> None:
    file = project / "own.weights.h5"
    subprocess.run(
        [sys.executable, "-c", SAVE, str(file), "ResNet50" if spoil == "other network" else "VGG16"],
        check=True,
        capture_output=True,
    )
    if spoil == "truncated":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif spoil == "text":
        file.write_text("<html>404</html>")
    done = run(project, "--set", 'stages.build.params.weights="own.weights.h5"')
    check(done, project, 1, "error: build:", "own.weights.h5")


SAVE = """
import sys, keras
getattr(keras.applications, sys.argv[2])(include_top=False, weights=None).save_weights(sys.argv[1])
"""


@pytest.mark.slow
def test_imagenet_weights_without_network_say_which_file_to_put_where(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(project / "keras"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    done = run(project, "--set", 'stages.build.params.weights="imagenet"')
    check(done, project, 1, "error: build:", "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", str(project / "keras"))
