"""The whole pipeline on photo-like JPEGs: both networks, both backends, a frozen prefix; slow."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pictures import photo, write_splits
from tests.projects import copy_stages

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow

PIPELINE = """
[pipeline]
name = "photos"

[matrix]
model = [{ name = "resnet50", unfreeze = 8 }, { name = "vgg16", unfreeze = 4 }]
backend = ["tensorflow", "jax"]

[stages.ingest]
run = "stages.ingest"
[stages.ingest.params]
source = "photos"
image_size = 32

[stages.preprocess]
run = "stages.preprocess"
needs = ["ingest"]
[stages.preprocess.params]
model = "${model.name}"

[stages.build]
run = "stages.build"
needs = ["preprocess"]
[stages.build.params]
model = "${model.name}"
weights = "random"

[stages.train]
run = "stages.train"
needs = ["ingest", "preprocess", "build"]
resources = { gpus = 1 }
[stages.train.params]
unfreeze = "${model.unfreeze}"
epochs = 2
batch_size = 10
pooling = "flatten"
units = 16

[stages.evaluate]
run = "stages.evaluate"
needs = ["ingest", "preprocess", "build", "train"]

[stages.report]
run = "stages.report"
needs = ["ingest", "preprocess", "build", "train", "evaluate"]
gather = true
"""
BRANCHES = [f"{model},{backend}" for model in ("resnet50", "vgg16") for backend in ("tensorflow", "jax")]


class Photos:
    """A project of its own with a copy of the stages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        copy_stages(root)
        write_splits(root / "photos")
        (root / "pipeline.toml").write_text(PIPELINE)

    def kpipe(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        base = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "KPIPE_STORE")}
        command = [sys.executable, "-m", "kpipe", *args]
        return subprocess.run(command, cwd=self.root, env=base | environment, capture_output=True, text=True)

    def run(self, *args: str, **environment: str) -> dict[str, dict[str, Any]]:
        done = self.kpipe("run", "--json", *args, **environment)
        assert done.returncode == 0, done.stderr
        return {row["instance"]: row for row in json.loads(done.stdout)["instances"]}

    def ran(self, *args: str) -> set[str]:
        return {id_ for id_, row in self.run(*args).items() if row["status"] != "cached"}

    def artifact(self, row: dict[str, Any]) -> Path:
        return self.root / ".kpipe" / "objects" / row["output"]

    def memo_parts(self, name: str) -> list[str]:
        return sorted(str(p) for p in (self.root / ".kpipe" / "memo" / name).glob("*/*.json"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    return Photos(tmp_path_factory.mktemp("pipeline") / "project")


@pytest.fixture(scope="module")
def first(photos: Photos) -> dict[str, dict[str, Any]]:
    """Every instance of the first run."""
    return photos.run()


def test_all_branches_run_each_on_its_backend_and_meet_in_one_report(photos: Photos, first: dict[str, dict[str, Any]]) -> None:
    assert [id_ for id_ in first if id_.startswith("train")] == [f"train[{b}]" for b in BRANCHES]
    assert {first[f"train[{b}]"]["backend"] for b in BRANCHES} == {"tensorflow", "jax"}
    with (photos.root / "reports" / "photos-jax+tensorflow.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["branch"] for row in rows] == BRANCHES
    assert all(0 <= float(row["test_accuracy"]) <= 1 for row in rows)
    page = (photos.root / "reports" / "photos-jax+tensorflow.html").read_text()
    assert "<html" in page and "ResNet50" in page and "VGG16" in page and "asks for 1 GPU" in page


def test_the_pipeline_file_in_the_report_makes_the_same_branches(photos: Photos, first: dict[str, dict[str, Any]]) -> None:
    page = (photos.root / "reports" / "photos-jax+tensorflow.html").read_text()
    [link] = re.findall(r'download="again.toml" href="data:[^,]*,([^"]*)"', page)
    (photos.root / "again.toml").write_bytes(base64.b64decode(link))
    done = photos.kpipe("run", "--json", "again.toml")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["instances"]
    assert {row["stage"] for row in rows if row["status"] != "cached"} <= {"report"}  # its branches have another label
    trained = sorted(row["output"] for row in rows if row["stage"] == "train")
    assert trained == sorted(row["output"] for id_, row in first.items() if id_.startswith("train"))


def test_jax_keeps_what_it_compiled(photos: Photos, first: dict[str, dict[str, Any]]) -> None:
    assert next((photos.root / ".kpipe" / "compiled").glob("jax-*/*"), None)


def test_doctor_looks_at_a_network_that_plain_keras_reads_too(photos: Photos, first: dict[str, dict[str, Any]]) -> None:
    shutil.copytree(photos.root / "photos", photos.root / "leaked")
    for picture in sorted((photos.root / "leaked/train/cats").iterdir())[:4]:
        shutil.copy(picture, photos.root / "leaked/validation/cats" / f"again-{picture.name}")
    model = photos.artifact(first["train[vgg16,tensorflow]"]) / "model.keras"
    done = photos.kpipe("doctor", str(model), "--data", "leaked", "--json", KERAS_BACKEND="tensorflow")
    assert done.returncode == 0, done.stderr
    [leakage] = [finding for finding in json.loads(done.stdout) if finding["rule"] == "leakage"]
    assert leakage["evidence"]["validation_leaked"] == 4
    assert "leakage" in photos.kpipe("doctor", str(model), "--data", "leaked", KERAS_BACKEND="tensorflow").stdout
    assert "leakage" not in photos.kpipe("doctor", str(model), "--data", "photos", "--json", KERAS_BACKEND="tensorflow").stdout


def test_cached_run_imports_no_backend_and_starts_no_process(photos: Photos, first: dict[str, dict[str, Any]]) -> None:
    probe = (
        "import sys, subprocess; subprocess.Popen = None\n"
        "from kpipe.cli import invoke\n"
        "code = invoke(['run'])\n"
        "heavy = [m for m in ('keras', 'tensorflow', 'jax', 'numpy', 'pandas', 'matplotlib', 'seaborn') if m in sys.modules]\n"
        "print(code, heavy)"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=photos.root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["reports/photos-jax+tensorflow.html", "0 []"]
    assert done.stderr.count("cached") == len(first)


def test_more_epochs_rerun_training_alone_and_no_activation_is_computed_again(
    photos: Photos, first: dict[str, dict[str, Any]]
) -> None:
    parts = photos.memo_parts("activations")
    assert len(parts) == 4
    more = ("--set", "stages.train.params.epochs=3")
    assert "epochs 2 -> 3" in photos.kpipe("explain", "train", *more).stdout
    plan = photos.kpipe("plan", *more).stdout
    assert [line.split()[1] for line in plan.splitlines()] == ["cached"] * 7 + ["run"] * 4 + ["depends"] * 5
    again = {f"{stage}[{branch}]" for stage in ("train", "evaluate") for branch in BRANCHES}
    assert photos.ran(*more) == again | {"report"}
    assert photos.memo_parts("activations") == parts


def test_backend_from_the_environment_reuses_what_is_keras_free(photos: Photos, first: dict[str, dict[str, Any]]) -> None:
    rows = photos.run(KERAS_BACKEND="jax")
    assert {id_ for id_, row in rows.items() if row["status"] != "cached"} == {"report"}
    assert (photos.root / "reports" / "photos-jax.html").exists()


def test_added_backbone_file_reruns_nothing(photos: Photos, first: dict[str, dict[str, Any]]) -> None:
    shutil.copy(photos.root / "stages/backbones/vgg16.py", photos.root / "stages/backbones/vgg_other.py")
    assert photos.ran() == set()


def test_comment_anywhere_reruns_nothing(photos: Photos, first: dict[str, dict[str, Any]]) -> None:
    for path in (photos.root / "stages").rglob("*.py"):
        path.write_text(path.read_text() + "\n# a comment\n")
    assert photos.ran() == set()


def test_warm_workers_give_the_same_bytes_as_fresh_ones(photos: Photos, first: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    for id_ in [id_ for id_ in first if "tensorflow" in id_ or "[" not in id_ or "," not in id_]:
        fresh = photos.run("--until", id_, KPIPE_STORE=store, KERAS_BACKEND="tensorflow")
        if id_ != "report":
            assert fresh[id_]["output"] == first[id_]["output"], id_


def test_predictions_of_the_backends_agree_with_the_same_weights(photos: Photos, first: dict[str, dict[str, Any]]) -> None:
    """predict gives the same probabilities on either backend for one saved model."""
    picture = photos.root / "new.jpg"
    photo(1, 10_000).save(picture)
    model = ("--model", "vgg16,tensorflow", "--json")
    found = [json.loads(photos.kpipe("predict", str(picture), *model, KERAS_BACKEND=b).stdout)[0] for b in ("tensorflow", "jax")]
    assert found[0]["predicted"] == found[1]["predicted"]
    assert float(found[0]["probability"]) == pytest.approx(float(found[1]["probability"]), abs=1e-4)


def test_predict_prepares_pictures_as_training_did(photos: Photos, first: dict[str, dict[str, Any]]) -> None:
    predictions = photos.artifact(first["evaluate[vgg16,tensorflow]"]) / "predictions.csv"
    with predictions.open() as file:
        rows = {row["path"]: row for row in csv.DictReader(file) if row["split"] == "test"}
    (photos.root / "photos/test/cats/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    try:
        done = photos.kpipe("predict", "photos/test", "--model", "vgg16,tensorflow", "--json", KERAS_BACKEND="tensorflow")
    finally:
        (photos.root / "photos/test/cats/broken.jpg").unlink()
    found = {row["path"].removeprefix("photos/"): row for row in json.loads(done.stdout)}
    assert "broken.jpg" in done.stderr
    assert found.keys() == rows.keys()
    for path, row in found.items():
        assert row["predicted"] == rows[path]["predicted"]
        assert float(row["p_cats"]) == pytest.approx(float(rows[path]["p_cats"]), abs=1e-4)


def test_replaced_weights_file_reruns_from_build_on(photos: Photos, first: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    weights = photos.root / "own.keras"
    build = {b: photos.artifact(first[f"build[{b},tensorflow]"]) / "backbone.keras" for b in ("resnet50", "vgg16")}
    shutil.copy(build["vgg16"], weights)
    only_vgg = ("--set", 'matrix.model=[{name="vgg16", unfreeze=4}]', "--set", 'stages.build.params.weights="own.keras"')
    until = ("--until", "train", "--set", 'matrix.backend=["tensorflow"]')
    photos.run(*only_vgg, *until)
    assert photos.ran(*only_vgg, *until) == set()
    subprocess.run([sys.executable, "-c", SHIFT, str(weights)], check=True, capture_output=True)
    assert photos.ran(*only_vgg, *until) == {"build[vgg16,tensorflow]", "train[vgg16,tensorflow]"}
    shutil.copy(build["resnet50"], weights)
    done = photos.kpipe("run", *only_vgg, *until)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "own.keras" in done.stderr and "hint:" in done.stderr


SHIFT = """
import sys, keras
model = keras.models.load_model(sys.argv[1])
model.get_layer("block1_conv1").bias.assign_add([0.5] * 64)
model.save(sys.argv[1])
"""
