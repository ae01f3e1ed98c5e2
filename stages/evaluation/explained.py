"""The test images on which a network errs most, and some that it gets right, with what in them spoke for a class."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage
from stages import json_files
from stages.data.labels import sample
from stages.evaluation.trained import Trained
from stages.network import activations, graph
from stages.network.feed import Array, Feed
from stages.network.grad_cam import GradCam
from stages.network.prefix import Images, Prefix
from stages.network.scores import cross_entropies

MOST = 12  # images of each kind
SIDE = 16  # places along a side of a heat map, at most


def write(stage: Stage, trained: Trained, rows: NDArray[np.int64], probabilities: NDArray[np.float32]) -> None:
    """explained.json and heat.npy, from the rows of the test images and their probabilities (N, K).

    heat.npy is uint8 (maps, h, w): Grad-CAM, 255 where a map is strongest; all 0 where nothing speaks for the class.
    explained.json has the layer that it looks at, the number of its places, and the images: "loss" are those with the
    highest, "right" are drawn among the others that were named rightly. An image's `maps` tell which map is whose class.
    """
    labels, predicted = trained.labels.index[rows], probabilities.argmax(axis=1)
    worst = by_loss(probabilities, labels)
    chosen = np.concatenate([worst, among_right(predicted == labels, worst)])
    pairs = [(image, name) for image, at in enumerate(chosen) for name in dict.fromkeys((predicted[at], labels[at]))]
    cam = GradCam.of(trained.network)
    maps = feature_maps(stage, trained, cam, rows[chosen])
    images, names = (np.array(column) for column in zip(*pairs, strict=True))
    np.save(stage.out / "heat.npy", scaled(coarse(cam.heat(maps[images], names))))
    shown = [
        {"kind": "loss" if i < len(worst) else "right", **told(trained, rows[at], probabilities[at])}
        for i, at in enumerate(chosen)
    ]
    for number, (image, name) in enumerate(pairs):
        shown[image].setdefault("maps", {})[trained.labels.classes[name]] = number
    layer = {"layer": cam.name, "places": list(maps.shape[1:3]), "last": cam.last}
    json_files.write(stage.out / "explained.json", {**layer, "images": shown})


def by_loss(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """The images with the highest losses, which are the lowest probabilities of the label; the earlier one of equal ones."""
    return np.argsort(probabilities[np.arange(len(labels)), labels], kind="stable")[:MOST]


def among_right(right: NDArray[np.bool_], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Some of the images that are named rightly, drawn at random, without these others."""
    return sample(np.setdiff1d(np.flatnonzero(right), others), MOST, 0)


def feature_maps(stage: Stage, trained: Trained, cam: GradCam, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N, h, w, channels): what is explained, from the stored activations where they lie below it, else from the pixels."""
    frozen = trained.training["frozen_prefix"]
    cut = frozen["cut"] if frozen else []
    between = graph.between(trained.network, cut, [cam.name])
    if not cut or not all(map(graph.inputs, between)):  # the network's input is among what computes it
        return outputs(cam.below, trained.pixels.arrays, rows)
    prefix = Prefix.of(stage, trained.network, cut, trained.training["activations"])
    prefix = prefix.below or prefix
    stored = activations.stored(stage, prefix, Images(prefix.images, rows))[0]
    if not between:
        return stored[0][rows].astype(np.float32)
    return outputs(graph.part(trained.network, cut, [cam.name]), stored, rows)


def outputs(model: keras.Model, arrays: tuple[Array, ...], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The model's only output, in one batch."""
    [[values]] = Feed(model, arrays).outputs(rows, batch_size=len(rows))
    return values


def told(trained: Trained, row: int, probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """What is known of an image, and said of it: probabilities and loss in the digits of predictions.csv."""
    loss = cross_entropies(probabilities[None], trained.labels.index[[row]]).astype(np.float32)
    item, index, name = trained.labels.items[row], trained.labels.index[[row]], int(probabilities.argmax())
    return {
        "row": item.row,
        "path": item.path,
        "label": item.label,
        "predicted": trained.labels.classes[name],
        "probability_of_label": float(str(probabilities[index[0]])),
        "probability_of_predicted": float(str(probabilities[name])),
        "loss": float(str(loss[0])),
    }


def coarse(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, h, w) with at most SIDE places along each side, means over what falls together."""
    for axis in (1, 2):
        size = heat.shape[axis]
        if size > SIDE:
            edges = np.arange(SIDE) * size // SIDE
            widths = np.diff([*edges, size]).reshape([-1 if a == axis else 1 for a in range(3)])
            heat = (np.add.reduceat(heat, edges, axis) / widths).astype(np.float32)
    return heat


def scaled(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """uint8, each map by its own maximum."""
    most = heat.max(axis=(1, 2), keepdims=True)
    shares: NDArray[np.float32] = np.divide(heat, most, out=np.zeros_like(heat), where=most > 0)
    return np.rint(255 * shares).astype(np.uint8)
