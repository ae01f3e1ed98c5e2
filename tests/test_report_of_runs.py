"""kpipe report on real digits: a run on each backend, in one report, and their networks on both backends; slow."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.projects import ROOT, copy_stages
from tests.stages.tiny import plain_keras

pytestmark = pytest.mark.slow

SETTINGS = {
    "stages.ingest.params.subset": "300",
    "matrix.model": '[{ name = "resnet50", learning_rate = 1e-3 }]',
    "stages.train.params.epochs": "2",
    "stages.train.params.unfreeze": "0",  # what compiles in seconds; the whole network predicts
}
PREDICT = """
import sys
import keras, numpy as np
images, rows, out, *models = sys.argv[1:]
pictures = np.load(images)[np.load(rows)]
networks = [keras.models.load_model(model, compile=False) for model in models]
np.save(out, [network.predict(pictures, batch_size=64, verbose=0) for network in networks])
"""


class Digits:
    """A project of its own, run once on each backend, TensorFlow first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        copy_stages(root)
        (root / "pipeline.toml").write_text((ROOT / "pipeline.toml").read_text())
        sets = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
        runs = [json.loads(self.kpipe("run", "--json", *sets, KERAS_BACKEND=b).stdout) for b in ("tensorflow", "jax")]
        self.outputs = [{row["instance"]: row["output"] for row in run["instances"]} for run in runs]

    def kpipe(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        base = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "KPIPE_STORE")}
        command = [sys.executable, "-m", "kpipe", *args]
        done = subprocess.run(command, cwd=self.root, env=base | environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    def artifact(self, run: int, instance: str) -> Path:
        return self.root / ".kpipe" / "objects" / self.outputs[run][instance]

    def report(self) -> tuple[str, list[dict[str, str]]]:
        """The page and the table of both runs, with the same weights on both backends."""
        page = self.root / self.kpipe("report", "last~1", "last", "--same-weights").stdout.splitlines()[-1]
        with page.with_suffix(".csv").open() as file:
            return page.read_text(), list(csv.DictReader(file))

    def kept(self) -> list[Path]:
        return sorted((self.root / ".kpipe" / "memo" / "same-weights").glob("*/*.json"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    return Digits(tmp_path_factory.mktemp("digits") / "project")


def test_runs_of_two_backends_meet_in_one_report_and_compute_the_same(digits: Digits, tmp_path: Path) -> None:
    page, rows = digits.report()
    assert [row["branch"] for row in rows] == ["resnet50,tensorflow", "resnet50,jax"]
    assert "2 branches of 2 runs compared on" in page and "Backends side by side" in page
    assert "But for rounding, both backends compute the same" in page
    kept = digits.kept()
    assert len(kept) == 4  # two networks, two backends
    assert digits.report() == (page, rows) and digits.kept() == kept
    with (digits.artifact(0, "ingest") / "manifest.csv").open() as file:
        test = [int(row["row"]) for row in csv.DictReader(file) if row["split"] == "test"]
    np.save(tmp_path / "rows.npy", test)
    models = [digits.artifact(run, "train[resnet50]") / "model.keras" for run in range(2)]
    plain = []
    for backend in ("tensorflow", "jax"):
        out = tmp_path / f"{backend}.npy"
        plain_keras(backend, PREDICT, digits.artifact(0, "ingest") / "images.npy", tmp_path / "rows.npy", out, *models)
        plain.append(np.load(out))
    said = [np.load(part.with_suffix("") / "predictions.npz")["probabilities"] for part in kept]
    for row, first, second in zip(rows, *plain, strict=True):
        assert sum(np.abs(own - first).max() < 1e-4 for own in said) == 2  # this network on both backends, not the other
        assert int(row["same_weights_images"]) == len(test)
        assert 0 < float(row["same_weights_mean_difference"]) < float(row["same_weights_largest_difference"]) < 1e-4
        assert np.abs(first - second).max() < 1e-4
        assert int(row["same_weights_named_differently"]) == (first.argmax(1) != second.argmax(1)).sum()


def test_without_it_networks_of_two_backends_differ_by_their_random_numbers(digits: Digits) -> None:
    page = (digits.root / digits.kpipe("report", "last~1", "last").stdout.splitlines()[-1]).read_text()
    assert "kpipe report last --same-weights" in page and "The same weights on both backends" not in page
