"""How far training moved the weights of each layer."""

from __future__ import annotations

import keras
import numpy as np

from stages.training.state import Arrays, values

LEAST = 1e-12  # stands for the size of weights that are all 0


class Changes:
    """The weights as they are when this is made."""

    def __init__(self, network: keras.Model) -> None:
        self.network = network
        self.before = {layer.name: copied(layer) for layer in network.layers if layer.weights}

    def told(self) -> dict[str, float]:
        """For each layer |w - w0| / |w0|, w0 being its weights then and w those it has now, its statistics apart where it has
        weights that can learn: the updates of a whole training beside the weights, as one looks at those of a step.
        """
        return {name: relative(was, copied(self.network.get_layer(name))) for name, was in self.before.items()}


def copied(layer: keras.layers.Layer) -> Arrays:
    """A layer's kernels, offsets and scales; its statistics follow the data and do not learn."""
    own = [weight for weight in layer.weights if weight.name not in ("moving_mean", "moving_variance", "seed_generator_state")]
    return [np.array(value) for value in values(own)]


def relative(before: Arrays, now: Arrays) -> float:
    """The size of the difference, in sizes of what was before."""
    moved = sum(float(np.square(b - a, dtype=np.float64).sum()) for a, b in zip(before, now, strict=True))
    size = sum(float(np.square(a, dtype=np.float64).sum()) for a in before)
    return float(np.sqrt(moved) / max(np.sqrt(size), LEAST))
