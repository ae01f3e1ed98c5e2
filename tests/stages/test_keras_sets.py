"""Data sets that Keras brings, from prepared arrays and files: nothing is downloaded."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from kpipe.stage import StageError
from stages.data import keras_sets
from tests.stages.test_ingest import audit, dataset, ingested, rows


def arrays(name, each=12):
    """As Keras gives them: uint8 pictures, labels in a column for CIFAR."""
    random, classes = np.random.default_rng(0), len(keras_sets.NAMES[name])
    shape = (32, 32, 3) if name.startswith("cifar") else (28, 28)
    labels = np.tile(np.arange(classes, dtype=np.uint8), each)
    labels = labels[:, None] if name.startswith("cifar") else labels
    one = lambda: random.integers(0, 256, (len(labels), *shape), dtype=np.uint8)  # noqa: E731
    return {"train": one(), "train_labels": labels, "test": one(), "test_labels": labels}


@pytest.mark.parametrize("name", sorted(keras_sets.NAMES))
def test_the_test_split_stays_and_validation_is_drawn(tmp_path, name, monkeypatch):
    data = arrays(name)
    monkeypatch.setattr(keras_sets, "load", lambda asked, file: data if asked == name else None)
    size = data["train"].shape[1]
    stage = ingested(tmp_path, f"keras:{name}", image_size=size, validation=0.25)
    classes = dataset(stage)["classes"]
    assert classes == sorted(keras_sets.NAMES[name]) and len(set(classes)) == len(classes)
    assert dataset(stage)["counts"] == {s: dict.fromkeys(classes, n) for s, n in (("train", 9), ("validation", 3), ("test", 12))}
    assert dataset(stage)["source"] == f"keras:{name}" and dataset(stage)["split"].startswith("as found, validation drawn")
    images = np.load(stage.out / "images.npy")
    for row in rows(stage)[::7]:
        split, index = row["path"].split("/")
        original = data[split][int(index)]
        assert (row["split"] == "test") == (split == "test")
        assert row["label"] == keras_sets.NAMES[name][int(data[f"{split}_labels"].ravel()[int(index)])]
        assert row["hash"] == hashlib.sha256(original.tobytes()).hexdigest()
        assert (images[int(row["row"])] == original.reshape(size, size, -1)).all()
    assert audit(stage)["modes"] == {"RGB" if data["train"].ndim == 4 else "L": 24 * len(classes)}


@pytest.mark.slow
def test_keras_reads_the_files_in_its_folder_in_a_process_of_its_own(tmp_path, monkeypatch):
    data = arrays("fashion_mnist", each=4)
    folder = tmp_path / "keras" / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    for name, split in (("train", "train"), ("t10k", "test")):
        count = len(data[split])
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(struct.pack(">IIII", 2051, count, 28, 28) + data[split].tobytes())
        )
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(struct.pack(">II", 2049, count) + data[f"{split}_labels"].tobytes())
        )
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    found = keras_sets.load("fashion_mnist", tmp_path / "a.npz")
    assert all((found[name] == data[name]).all() for name in data) and not (tmp_path / "a.npz").exists()


@pytest.mark.slow
def test_without_network_and_file_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(StageError, match=r"keras.datasets.mnist cannot be loaded") as caught:
        ingested(tmp_path, "keras:mnist")
    assert "keras.datasets.mnist.load_data()" in (caught.value.hint or "")
