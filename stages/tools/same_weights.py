"""Same weights: test images through the saved model of every branch, on the backend of this process."""

from __future__ import annotations

import shutil

import keras
import numpy as np

from kpipe.stage import Branch, Stage
from stages import json_files
from stages.data.labels import Labels, sample
from stages.data.rows import Rows
from stages.network import device, keras_files
from stages.network.feed import Feed

MOST = 1000  # test images that a model is given


def run(stage: Stage) -> None:
    """Write NUMBER/predictions.npz and NUMBER/about.json for every branch, counted from 0, that has ingest and train.

    predictions.npz: `rows` int64 (n,) of the manifest, at most MOST, drawn at random but the same on every backend;
    `probabilities` float32 (n, classes). about.json: `device`, and the number of all test `images`.
    """
    computes_on = device.prepare()
    for number, branch in enumerate(stage.branches):
        if {"ingest", "train"} <= branch.inputs.keys():
            predict(stage, branch, str(number), computes_on)
        stage.progress(number + 1, len(stage.branches))


def predict(stage: Stage, branch: Branch, name: str, computes_on: str) -> None:
    """Write one branch's folder; what is known already of its model and images is not computed again."""
    model, images = branch.inputs["train"] / "model.keras", branch.inputs["ingest"] / "images.npy"
    every = Labels(branch.inputs["ingest"]).rows("test")  # the same in every fold
    rows = np.sort(sample(every, MOST, 0))
    with stage.memo("same-weights", model=model, images=images, rows=rows.tolist()) as memo:
        if not memo.parts:
            with memo.new_part() as part:
                keras.utils.clear_session()
                feed = Feed(keras_files.read(model), (Rows.of(images),))
                np.savez(part / "predictions.npz", rows=rows, probabilities=feed.predict(rows))
                json_files.write(part / "about.json", {"device": computes_on, "images": len(every)})
        shutil.copytree(memo.parts[-1], stage.out / name)
