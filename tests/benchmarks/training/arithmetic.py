"""The ceiling: how much faster training on stored activations could be by its arithmetic alone, decoding and all else free.

For one picture, P is forward in the prefix (below everything that learns), T forward in the tail, and B backward in the tail: of
each of its layers the gradient of the kernel where it learns, and that of the input where something below learns, each as much as
the layer's forward. With e epochs over n training and v validation pictures, and s test pictures once:

    a Keras script     e * (n * (P + T + B) + v * (P + T)) + s * (P + T)
    kpipe, first       (n + v + s) * P  +  e * (n * (T + B) + v * T) + s * T
    kpipe, second                          e * (n * (T + B) + v * T) + s * T      on the prefix of the first

A multiply-add counts two; convolutions and dense layers only; positions at the border count like all others, although XLA leaves
out what is multiplied with padding. The ceiling is the script's count divided by kpipe's. It takes a FLOP to cost the same time
everywhere: a frozen network that is computed once, in large batches, may do better than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """Operations for one picture, and how many pictures and epochs."""

    prefix: int
    tail: int
    backward: int
    images: Mapping[str, int]  # of each split
    epochs: int

    @property
    def prefix_once(self) -> int:
        """All pictures through the prefix."""
        return sum(self.images.values()) * self.prefix

    @property
    def kpipe_second(self) -> int:
        """The tail alone."""
        train, validation, test = (self.images[split] for split in ("train", "validation", "test"))
        epoch = train * (self.tail + self.backward) + validation * self.tail
        return self.epochs * epoch + test * self.tail

    @property
    def kpipe_first(self) -> int:
        """The prefix once, then the tail."""
        return self.prefix_once + self.kpipe_second

    @property
    def script(self) -> int:
        """The whole network for every picture in every epoch."""
        train, validation, test = (self.images[split] for split in ("train", "validation", "test"))
        whole = self.prefix + self.tail
        return self.epochs * (train * (whole + self.backward) + validation * whole) + test * whole

    @property
    def ceiling_first(self) -> float:
        """Of the first experiment."""
        return self.script / self.kpipe_first

    @property
    def ceiling_second(self) -> float:
        """Of a further experiment on the same prefix."""
        return self.script / self.kpipe_second
