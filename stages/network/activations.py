"""The frozen prefix of a network: where it ends, and its activations for all images, computed once and stored."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage, StageError
from stages.network.feed import BATCH, Feed


def frontier(network: keras.Model, backbone_layers: Collection[str]) -> list[str]:
    """Names of the operations whose outputs are the cut between what cannot change in training and what can.

    A tensor cannot change when nothing above it learns, uses batch statistics or draws random numbers; the head always
    can. The cut is every such tensor that enters an operation of the other kind: in a residual network there may be
    several. Empty where no weights lie below it, since then there is nothing to save.
    """
    names = {id(tensor): op.name for op in network.operations for tensor in keras.tree.flatten(op.output)}
    changing: set[str] = set()
    cut: dict[str, None] = {}
    for op in network.operations:
        inputs = [] if isinstance(op, keras.layers.InputLayer) else [names[id(t)] for t in keras.tree.flatten(op.input)]
        if can_change(op) or is_head(op, backbone_layers) or changing.intersection(inputs):
            changing.add(op.name)
            cut.update((name, None) for name in inputs if name not in changing)
    prefix = [layer for layer in network.layers if layer.name not in changing]
    return list(cut) if any(layer.weights for layer in prefix) else []


def can_change(op: keras.Operation) -> bool:
    """Whether the operation's output for the same input may change from step to step."""
    if not isinstance(op, keras.layers.Layer):
        return False
    learns = op.trainable and bool(op.weights)  # BatchNormalization without gamma and beta still has statistics
    return learns or hasattr(op, "seed_generator")


def is_head(op: keras.Operation, backbone_layers: Collection[str]) -> bool:
    """Whether the operation lies above the backbone: a new head must find the same activations."""
    return isinstance(op, keras.layers.Layer) and op.name not in backbone_layers and op.name != "pixels"


def tensors(network: keras.Model, cut: Sequence[str]) -> list[keras.KerasTensor]:
    """The output of each named operation."""
    outputs = {op.name: op.output for op in network.operations}
    return [outputs[name] for name in cut]


def depth(network: keras.Model, cut: Sequence[str]) -> int:
    """Number of layers below the cut, the input layer included."""
    return len(keras.Model(network.input, tensors(network, cut)).layers)


def tail(network: keras.Model, cut: Sequence[str]) -> keras.Model:
    """The network above the cut, as a model of the cut's tensors that shares the network's layers."""
    inputs = tensors(network, cut)
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], network.output)


def feed(stage: Stage, network: keras.Model, cut: Sequence[str], *, backbone: Path, images: Path) -> Feed:
    """The network above the cut and the stored activations at the cut; with an empty cut, the network and the pixels.

    `backbone` is the .keras file whose weights the prefix has. The activations, float32 (N, ...) for each tensor, are
    computed for all images on first use and come from the memo afterwards.
    """
    pixels = np.load(images, mmap_mode="r")
    if not cut:
        return Feed(network, (pixels,))
    names = list(cut)
    with stage.memo("activations", weights=backbone, cut=names, images=images, dtype="float32") as memo:
        if not memo.parts:
            with memo.new_part() as folder:
                compute(network, names, pixels, folder, lambda done: stage.progress(done, len(pixels), doing="activations"))
        stored = tuple(np.load(memo.parts[0] / f"{name}.npy", mmap_mode="r") for name in names)
    return Feed(tail(network, names), stored)


def compute(
    network: keras.Model, cut: Sequence[str], pixels: NDArray[np.uint8], folder: Path, progress: Callable[[int], None]
) -> None:
    """Write the activations of all images at each tensor of the cut as one .npy file below `folder`."""
    outputs = tensors(network, cut)
    prefix = Feed(keras.Model(network.input, outputs), (pixels,))
    refuse_full_disk(outputs, len(pixels), folder)
    files = [
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=(len(pixels), *tensor.shape[1:]))
        for name, tensor in zip(cut, outputs, strict=True)
    ]
    for start, batch in enumerate(prefix.outputs(np.arange(len(pixels)), progress)):
        for file, values in zip(files, batch, strict=True):
            file[start * BATCH : start * BATCH + len(values)] = values
    for file in files:
        file.flush()


def refuse_full_disk(outputs: Sequence[keras.KerasTensor], images: int, folder: Path) -> None:
    """Raise StageError where the activations would not fit on the disk."""
    needed = 4 * images * sum(math.prod(tensor.shape[1:]) for tensor in outputs)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StageError(
            f"the activations of {images:,} images take {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free",
            hint='free some space, or set stages.train.params.activations = "off"',
        )
