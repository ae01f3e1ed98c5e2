"""Latency: the function that is timed predicts what Keras does, and slow networks are called less often."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from stages import evaluate, train
from stages.network import latency
from tests.stages import tiny

ROOT = Path(__file__).resolve().parents[2]
COMPARED = """
import sys
import keras, numpy
from stages.network import latency
model, images = keras.models.load_model(sys.argv[1]), numpy.load(sys.argv[2])
for size in (1, 32):
    timed = latency.compiled(model)(images[:size])
    assert (timed.dtype, timed.shape) == (numpy.float32, (size, 3))
    numpy.testing.assert_allclose(timed, model.predict(images[:size], verbose=0), rtol=0, atol=1e-6)
model = keras.models.load_model(sys.argv[1])
latency.traced(model)
model.predict_on_batch(images[:32])
told = latency.measures(model, images[:5])
if keras.backend.backend() == "tensorflow":
    assert model.predict_function.experimental_get_tracing_count() == 1
assert all(told[f"latency_batch_{size}_{name}"] > 0 for size in (1, 32) for name in ("seconds", "calls")), told
print(keras.backend.backend())
"""


class Clocked:
    """A network that takes as many seconds a call as it is told, by a clock of its own; the first call compiles as well."""

    def __init__(self, taking: Callable[[int], float], compiling: float = 100.0) -> None:
        self.taking, self.compiling, self.calls, self.now = taking, compiling, 0, 0.0

    def __call__(self) -> None:
        self.now += self.taking(self.calls) + (self.compiling if self.calls == 0 else 0)
        self.calls += 1

    def timed(self) -> list[float]:
        return latency.timed(self, lambda: self.now)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_what_is_timed_predicts_as_keras_does(tmp_path: Path, backend: str) -> None:
    tiny.network(4, dropout=0.5).save(tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (40, tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", COMPARED, str(tmp_path / "model.keras"), str(tmp_path / "images.npy")]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, [backend]), done.stderr


def test_the_seconds_are_those_of_a_call_that_has_been_compiled() -> None:
    network = Clocked(lambda call: 1 / 64)
    assert network.timed() == pytest.approx([1 / 64] * 32)
    assert network.calls == 1 + 13 + 32  # compiling, warming up, timed


def test_a_device_that_speeds_up_is_timed_at_its_speed() -> None:
    network = Clocked(lambda call: 0.1 if call < 3 else 0.01)
    assert max(network.timed()) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("each", "timed", "calls"),
    [(0.0001, 500, 2501), (1 / 16, 20, 25), (1 / 8, 12, 15), (1 / 4, 6, 7), (0.75, 3, 4), (1.0, 2, 3), (2.0, 1, 2), (8.0, 1, 2)],
)
def test_slow_networks_are_called_less_often(each: float, timed: int, calls: int) -> None:
    network = Clocked(lambda call: each)
    assert network.timed() == pytest.approx([each] * timed)
    assert network.calls == calls


def test_a_summary_is_of_all_calls_and_a_tail_needs_twenty() -> None:
    assert latency.summary([0.3, 0.1, 0.2]) == {"seconds": 0.2, "p95_seconds": None, "calls": 3}
    assert latency.summary([0.1] * 19)["p95_seconds"] is None
    told = latency.summary([0.1] * 18 + [0.5, 0.9])
    assert told["seconds"] == 0.1
    assert told["p95_seconds"] == pytest.approx(0.5 + 0.05 * 0.4)  # the 19.05th of the 20, as numpy counts


def test_a_batch_holds_as_many_images_as_it_is_called_by(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[np.ndarray] = []
    monkeypatch.setattr(latency, "compiled", lambda network: given.append)
    monkeypatch.setattr(latency, "timed", lambda call: [call() or 0.25])
    images = np.arange(5 * 3, dtype=np.uint8).reshape(5, 1, 1, 3)
    told = latency.measures(keras.Sequential(), images)
    assert [len(batch) for batch in given] == [1, 32]
    assert {tuple(image.ravel()) for image in given[1]} == {tuple(image.ravel()) for image in images}
    assert told == {
        f"latency_batch_{size}_{name}": value
        for size in (1, 32)
        for name, value in (("seconds", 0.25), ("p95_seconds", None), ("calls", 1))
    }


@pytest.mark.slow
def test_evaluating_tells_latency_and_size_and_keeps_them_out_of_the_artifact(tmp_path: Path) -> None:
    run = tiny.start(tmp_path)
    run.run("train", train.run, epochs=1)
    stage = run.stage("evaluate")
    evaluate.run(stage)
    assert stage.measures["model_bytes"] == len((run.inputs["train"] / "model.keras").read_bytes())
    named = {name for name in stage.measures if name.startswith("latency_")}
    assert named == {f"latency_batch_{size}_{name}" for size in (1, 32) for name in ("seconds", "p95_seconds", "calls")}
    assert not [file.name for file in stage.out.iterdir() if b"latency" in file.read_bytes()]
