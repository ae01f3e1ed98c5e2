"""Evaluation: predictions carry their image's row, equal plain Keras on both backends, and are checked from the pixels."""

import csv
import json

import numpy as np
import pytest
import sklearn.metrics

from kpipe.stage import StageError
from stages import evaluate, train
from stages.network import activations
from stages.network.feed import Feed
from tests.stages import tiny

PREDICT = """
import keras, numpy
model = keras.models.load_model(sys.argv[1])
print(keras.backend.backend())
numpy.savetxt(sys.stdout, model.predict(numpy.load(sys.argv[2]), batch_size=7, verbose=0), fmt="%.9g")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tiny.Run:
    run = tiny.start(tmp_path_factory.mktemp("evaluate"))
    run.run("train", train.run, epochs=3, batch_size=16, learning_rate=0.01, unfreeze=4)
    run.run("evaluate", evaluate.run)
    return run


def predictions(run: tiny.Run) -> list[dict[str, str]]:
    with (run.inputs["evaluate"] / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def probabilities(table: list[dict[str, str]]) -> np.ndarray:
    return np.array([[float(line[f"p_{name}"]) for name in tiny.CLASSES] for line in table])


@pytest.mark.slow
def test_predictions_carry_their_images_row(run: tiny.Run) -> None:
    table = predictions(run)
    assert [int(line["row"]) for line in table] == [i for i in range(90) if tiny.split(i) != "train"]
    for line in table:
        row = int(line["row"])
        assert (line["path"], line["label"]) == (f"{row:03d}.png", tiny.CLASSES[row % 3])
        assert line["split"] == tiny.split(row)
        assert line["predicted"] == tiny.CLASSES[int(np.argmax([float(line[f"p_{name}"]) for name in tiny.CLASSES]))]
        assert line["correct"] == str(int(line["predicted"] == line["label"]))
        assert float(line["loss"]) == pytest.approx(-np.log(float(line[f"p_{line['label']}"])), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_plain_keras_predicts_the_same_from_raw_pixels(run: tiny.Run, backend: str) -> None:
    printed = tiny.plain_keras(backend, PREDICT, run.inputs["train"] / "model.keras", run.inputs["ingest"] / "images.npy").split()
    assert printed[0] == backend
    everything = np.array(printed[1:], float).reshape(-1, 3)
    table = predictions(run)
    np.testing.assert_allclose(everything[[int(line["row"]) for line in table]], probabilities(table), atol=1e-4)


def test_metrics_are_those_of_the_predictions(run: tiny.Run) -> None:
    told = json.loads((run.inputs["evaluate"] / "metrics.json").read_text())
    for split in ("validation", "test"):
        table = [line for line in predictions(run) if line["split"] == split]
        labels, values = [line["label"] for line in table], probabilities(table)
        assert told[split]["images"] == len(table) == 15
        assert told[split]["accuracy"] == sklearn.metrics.accuracy_score(labels, [line["predicted"] for line in table])
        values = values / values.sum(axis=1, keepdims=True)
        assert told[split]["log_loss"] == pytest.approx(sklearn.metrics.log_loss(labels, values, labels=tiny.CLASSES))
    assert told["train_modes"]["images"] == 48  # 60 in whole batches of 16
    assert told["parameters"] > told["trainable_parameters"] > 0
    assert told["headline"] == {
        "test_accuracy": {"value": told["test"]["accuracy"], "better": "higher"},
        "validation_accuracy": {"value": told["validation"]["accuracy"], "better": "higher"},
        "test_log_loss": {"value": told["test"]["log_loss"], "better": "lower"},
    }


@pytest.mark.slow
def test_evaluating_twice_gives_the_same_bytes(run: tiny.Run) -> None:
    stage = run.stage("evaluate")
    evaluate.run(stage)
    assert tiny.content(stage.out) == tiny.content(run.inputs["evaluate"])


@pytest.mark.slow
def test_activations_that_belong_to_other_images_are_noticed(run: tiny.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = activations.feed

    def rolled(*args: object, **kwargs: object) -> Feed:
        feed = honest(*args, **kwargs)  # type: ignore[arg-type]
        return Feed(feed.model, tuple(np.roll(array, 1, axis=0) for array in feed.arrays))

    monkeypatch.setattr(activations, "feed", rolled)
    with pytest.raises(StageError, match="differ from the saved model's"):
        evaluate.run(run.stage("evaluate"))
