"""Predict: the best branch, the preparation of training, bad files named and skipped."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kpipe.stage import Branch, Stage, StageError
from stages import json_files
from stages.data import images
from stages.network import keras_files
from stages.tools import predict
from tests.stages.fake_artifacts import Data, Run, branches

CLASSES = ("blue", "red")


def network(favourite: float = 1.0, size: int = 8) -> keras.Model:
    """Probabilities (blue, red) from the means of the channels, so that the right answer is known."""
    pixels = keras.Input((size, size, 3), dtype="uint8", name="pixels")
    means = keras.layers.GlobalAveragePooling2D(name="means")(keras.layers.Rescaling(1 / 255, name="scale")(pixels))
    model = keras.Model(pixels, keras.layers.Dense(2, activation="softmax", name="probabilities")(means))
    model.layers[-1].set_weights([np.array([[0, 5], [0, 0], [5, 0]], "float32") * favourite, np.zeros(2, "float32")])
    return model


@pytest.fixture
def trained(tmp_path: Path) -> list[Branch]:
    """Two branches; vgg16 is the better one on validation and sees colours as they are, resnet50 the wrong way round."""
    runs = [Run({"model": "resnet50"}, accuracy=0.6), Run({"model": "vgg16"}, model="vgg16", accuracy=0.95)]
    gathered = branches(tmp_path / "run", runs, Data(classes=CLASSES))
    for branch, favourite in zip(gathered, (-1.0, 1.0), strict=True):
        keras_files.write(network(favourite), branch.inputs["train"] / "model.keras")
    return gathered


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deep er").mkdir(parents=True)
    Image.new("RGB", (20, 10), (250, 5, 5)).save(folder / "r.PNG")
    Image.new("RGB", (9, 30), (5, 5, 250)).save(folder / "deep er" / "b.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    return folder


def predicted(
    folder: Path, gathered: list[Branch], *paths: Path, model: str = ""
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    stage = Stage(out=folder / "out", branches=gathered)
    predict.run(stage, paths=[str(path) for path in paths], model=model)
    return pd.read_csv(stage.out / "predictions.csv"), pd.read_csv(stage.out / "skipped.csv"), stage.notices


def test_best_branch_on_validation_predicts_a_folder(tmp_path: Path, trained: list[Branch], pictures: Path) -> None:
    table, skipped, notices = predicted(tmp_path, trained, pictures)
    assert list(table.columns) == ["path", "predicted", "probability", "p_blue", "p_red"]
    answers = {Path(path).name: name for path, name in zip(table["path"], table["predicted"], strict=True)}
    assert answers == {"b.jpg": "blue", "r.PNG": "red"}
    assert table["probability"].to_numpy() == pytest.approx(table[["p_blue", "p_red"]].max(axis=1).to_numpy())
    assert [Path(path).name for path in skipped["path"]] == ["gone.jpg", "broken.jpg"]
    assert any("broken.jpg" in notice for notice in notices) and any("gone.jpg: broken link" in notice for notice in notices)


def test_of_several_seeds_the_best_of_the_best_mean_predicts(tmp_path: Path) -> None:
    accuracies = {("resnet50", 1): 0.97, ("resnet50", 2): 0.7, ("vgg16", 1): 0.9, ("vgg16", 2): 0.92}
    runs = [Run({"model": m, "seed": s}, model=m, accuracy=a, params={"seed": s}) for (m, s), a in accuracies.items()]
    assert predict.best(branches(tmp_path, runs)).label == "vgg16,2"


def test_branch_is_chosen_by_its_label(tmp_path: Path, trained: list[Branch], pictures: Path) -> None:
    table, *_ = predicted(tmp_path, trained, pictures / "r.PNG", model="resnet50")
    assert list(table["predicted"]) == ["blue"]


def test_unknown_branch_names_the_valid_ones(tmp_path: Path, trained: list[Branch], pictures: Path) -> None:
    with pytest.raises(StageError, match="resnet5") as caught:
        predicted(tmp_path, trained, pictures, model="resnet5")
    assert "resnet50, vgg16" in str(caught.value.hint)


def test_pixels_are_prepared_as_ingest_prepares_them(tmp_path: Path, trained: list[Branch], pictures: Path) -> None:
    table, *_ = predicted(tmp_path, trained, pictures / "deep er" / "b.jpg")
    pixels = images.prepare(pictures / "deep er" / "b.jpg", (8, 8), "stretch").pixels[None]
    expected = network().predict(pixels, verbose=0)[0]
    assert table[["p_blue", "p_red"]].to_numpy()[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("background", "answer"), [([250, 0, 0], "red"), ([0, 0, 250], "blue")])
def test_transparency_shows_the_background_of_the_training_images(
    tmp_path: Path, trained: list[Branch], background: list[int], answer: str
) -> None:
    for branch in trained:
        file = branch.inputs["ingest"] / "dataset.json"
        json_files.write(file, json_files.read(file) | {"background": background})
    Image.new("RGBA", (20, 10)).save(tmp_path / "clear.png")
    table, *_ = predicted(tmp_path, trained, tmp_path / "clear.png")
    assert list(table["predicted"]) == [answer]


def test_foreign_model_takes_its_size_from_its_input(tmp_path: Path, pictures: Path) -> None:
    file = tmp_path / "mine.keras"
    network(size=6).save(file)
    table, _, notices = predicted(tmp_path, [], pictures / "r.PNG", model=str(file))
    assert list(table["predicted"]) == [1]
    assert any("mine.keras tells no class names" in notice for notice in notices)


def test_model_file_that_is_none_is_an_error(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(StageError, match="no such file"):
        predicted(tmp_path, [], pictures, model=str(tmp_path / "absent.keras"))
    (tmp_path / "broken.keras").write_bytes(b"zip?")
    with pytest.raises(StageError, match="cannot be read as a Keras model"):
        predicted(tmp_path, [], pictures, model=str(tmp_path / "broken.keras"))


def test_absent_path_is_an_error(tmp_path: Path, trained: list[Branch]) -> None:
    with pytest.raises(StageError, match="no such file or folder"):
        predicted(tmp_path, trained, tmp_path / "nowhere")


def test_no_picture_at_all_is_an_error_with_the_reasons(tmp_path: Path, trained: list[Branch], pictures: Path) -> None:
    with pytest.raises(StageError, match="no picture in") as caught:
        predicted(tmp_path, trained, pictures / "broken.jpg", pictures / "notes.txt")
    assert "broken.jpg" in str(caught.value.hint)


def test_a_run_without_a_trained_branch_says_what_to_do(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(StageError, match="no trained and evaluated branch"):
        predicted(tmp_path, [], pictures)
