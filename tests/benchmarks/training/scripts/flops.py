"""Counts a network's floating-point operations for one picture, from the shapes of its layers and what learns in it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import keras

from tests.benchmarks.training.scripts.fitting import asked
from tests.benchmarks.training.scripts.network import build


def forward(layer: keras.Operation) -> int:
    """Of convolutions and dense layers; a multiply-add is two operations. The rest is below 1% of these networks."""
    if not isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
        return 0
    positions = math.prod(layer.output.shape[1:-1])
    return int(2 * positions * math.prod(layer.kernel.shape))


def count(network: keras.Model) -> dict[str, int]:
    """`prefix`: forward where nothing can change while the network learns. `tail`: forward of the rest. `backward`: a training
    step's, over the tail: as much as forward for the gradient of each kernel that learns, and as much again for the gradient of
    each layer's input where something below it learns.
    """
    made_by = {id(tensor): op for op in network.operations for tensor in keras.tree.flatten(op.output)}
    changing: set[keras.Operation] = set()
    found = {"prefix": 0, "tail": 0, "backward": 0}
    for op in network.operations:
        sources = [] if isinstance(op, keras.layers.InputLayer) else keras.tree.flatten(op.input)
        below = any(made_by[id(tensor)] in changing for tensor in sources)
        learns = isinstance(op, keras.layers.Layer) and bool(op.trainable_variables)
        if learns or below:
            changing.add(op)
        found["tail" if op in changing else "prefix"] += forward(op)
        found["backward"] += forward(op) * (learns + below)
    return found


def main() -> None:
    """Write the counts to the file that is named."""
    told = asked()
    network = build({**told, "weights": "random"})
    Path(told["result"]).write_text(json.dumps({**count(network), "parameters": network.count_params()}))


if __name__ == "__main__":
    main()
