"""Training on several devices comes to the result of one: two devices of the CPU, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kpipe.stage import Stage
from stages.network import parallel

ROOT = Path(__file__).resolve().parents[2]
ROUNDING = {"rel": 1e-4, "abs": 1e-6}  # sums over images in another order, carried through two epochs of SGD
WEIGHTS = 5e-4


@pytest.fixture(scope="module", params=["tensorflow", "jax"])
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What trainings on one and on two devices gave."""
    command = [sys.executable, "-m", "tests.stages.two_devices", str(tmp_path_factory.mktemp(request.param))]
    environment = {**os.environ, "KERAS_BACKEND": request.param, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {"backend": request.param, **json.loads(done.stdout)}


@pytest.mark.slow
@pytest.mark.parametrize("training", ["shared last batch", "one image left", "recipe"])
def test_two_devices_train_the_network_of_one(seen: dict[str, Any], training: str) -> None:
    one, two = seen[training]
    assert [one["measures"]["devices"], two["measures"]["devices"]] == [1, 2]
    assert len(one["history"]) == len(two["history"]) >= 2
    for alone, together in zip(one["history"], two["history"], strict=True):
        assert together == pytest.approx(alone, **ROUNDING)
    for alone, together in zip(one["weights"], two["weights"], strict=True):
        assert np.abs(np.subtract(alone, together)).max() < WEIGHTS


@pytest.mark.slow
def test_two_devices_train_in_lower_precision_as_one_does(seen: dict[str, Any]) -> None:
    one, two = seen["mixed_float16"]
    assert two["measures"]["devices"] == 2
    for alone, together in zip(one["history"], two["history"], strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=5e-3)  # float16 has 11 bits


@pytest.mark.slow
def test_two_devices_infer_what_one_does(seen: dict[str, Any]) -> None:
    one, two = seen["inferred"]
    assert np.shape(two["predicted"]) == (93, 3)
    np.testing.assert_allclose(two["predicted"], one["predicted"], rtol=1e-5)
    for alone, together in zip(one["statistics"], two["statistics"], strict=True):
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_dropout_draws_for_two_devices_what_it_draws_for_one_on_jax_alone(seen: dict[str, Any]) -> None:
    one, two = ([row["loss"] for row in given["history"]] for given in seen["dropout"])
    assert np.isfinite(two).all()
    assert (one == pytest.approx(two, rel=1e-3)) == (seen["backend"] == "jax")
    assert two == pytest.approx(one, rel=0.3)


@pytest.mark.slow
def test_it_is_said_that_two_devices_trained(seen: dict[str, Any]) -> None:
    one, two = seen["recipe"]
    assert not any("devices" in notice for notice in one["notices"])
    assert "trained on 2 devices, which shared every batch of 16 images" in two["notices"]


@pytest.mark.slow
def test_nothing_of_two_devices_is_left_for_a_training_on_one(seen: dict[str, Any]) -> None:
    assert seen["again"][0]["files"] == seen["dropout"][0]["files"]


@pytest.mark.slow
def test_training_cut_off_on_two_devices_ends_with_the_same_bytes(seen: dict[str, Any]) -> None:
    assert seen["resumed"][0]["files"] == seen["dropout"][1]["files"]
    assert seen["resumed"][0]["notices"][-1] == "training was cut off, and went on after epoch 1"


@pytest.mark.slow
def test_what_two_devices_trained_is_evaluated_on_one(seen: dict[str, Any]) -> None:
    predicted, metrics = np.array(seen["predicted"]), seen["metrics"]
    assert predicted.shape == (93, 3) and np.allclose(predicted.sum(axis=1), 1, atol=1e-5)
    assert 0 <= metrics["test"]["accuracy"] <= 1


@pytest.mark.parametrize(
    ("found", "batch_size", "used"), [(1, 7, 1), (2, 32, 2), (2, 7, 1), (8, 20, 5), (4, 6, 3), (3, 64, 2), (8, 3, 3)]
)
def test_as_many_devices_are_used_as_can_share_a_batch_evenly(found: int, batch_size: int, used: int) -> None:
    names = [f"gpu:{number}" for number in range(found)]
    assert parallel.usable(names, batch_size) == names[:used]


def test_devices_left_idle_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "devices", lambda: ["gpu:0", "gpu:1", "gpu:2"])
    stage = Stage(out=tmp_path / "out")
    assert parallel.choose(stage, 20) == ["gpu:0", "gpu:1"]
    assert stage.notices == ["2 of 3 devices are used: no more can share a batch of 20 images evenly"]


def test_one_device_is_the_plain_way(tmp_path: Path) -> None:
    stage = Stage(out=tmp_path / "out")
    names = parallel.choose(stage, 20)
    with parallel.over(names):
        assert (len(names), parallel.number(), stage.notices) == (1, 1, [])
