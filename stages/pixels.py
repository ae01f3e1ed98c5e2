"""Pixel contracts: what a network's weights expect of the pixels it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kpipe.stage import StageError

Scaling = Literal["model", "unit", "symmetric", "torch", "none"]


@dataclass(frozen=True)
class Contract:
    """value = scale * channel + offset, channels in `channel_order`, for RGB channels of 0..255.

    `scale` and `offset` are in the output's channel order.
    """

    channel_order: Literal["rgb", "bgr"]
    scale: float | tuple[float, float, float]
    offset: tuple[float, float, float]

    def to_json(self) -> dict[str, Any]:
        """The contract as plain data."""
        return {"channel_order": self.channel_order, "scale": self.scales, "offset": list(self.offset)}

    @property
    def scales(self) -> float | list[float]:
        """The scale as layers and JSON take it: one for all channels, or one for each."""
        return self.scale if isinstance(self.scale, float) else list(self.scale)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Contract:
        """The contract that to_json described; KeyError where a member is missing."""
        scale = data["scale"]
        channels: Any = tuple(float(value) for value in scale) if isinstance(scale, list) else float(scale)
        offset: Any = tuple(float(value) for value in data["offset"])
        return cls(data["channel_order"], channels, offset)


MEANS, DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels of 0..1

# The names and values of keras.applications.imagenet_utils.preprocess_input: "caffe", "torch" and (as "symmetric") "tf".
CONTRACTS = {
    "caffe": Contract("bgr", 1.0, (-103.939, -116.779, -123.68)),
    "unit": Contract("rgb", 1 / 255, (0.0, 0.0, 0.0)),
    "symmetric": Contract("rgb", 1 / 127.5, (-1.0, -1.0, -1.0)),
    "torch": Contract(
        "rgb",
        (1 / (255 * DEVIATIONS[0]), 1 / (255 * DEVIATIONS[1]), 1 / (255 * DEVIATIONS[2])),
        (-MEANS[0] / DEVIATIONS[0], -MEANS[1] / DEVIATIONS[1], -MEANS[2] / DEVIATIONS[2]),
    ),
    "none": Contract("rgb", 1.0, (0.0, 0.0, 0.0)),
}


def contract(scaling: Scaling, backbone: ModuleType) -> Contract:
    """The contract a scaling means for a backbone (a module of stages.backbones)."""
    return CONTRACTS[backbone.SCALING if scaling == "model" else scaling]


def check_size(image_size: Sequence[int], backbone: ModuleType) -> None:
    """StageError where images (height, width) are smaller than the backbone can take."""
    least = backbone.SMALLEST
    if min(image_size) < least:
        height, width = image_size
        raise StageError(
            f"{backbone.NAME} needs images of at least {least} x {least} pixels, these have {height} x {width}",
            hint=f"stages.ingest.params.image_size = {least}",
        )


def apply(contract: Contract, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network's first layer receives: uint8 RGB (..., 3) -> float32 (..., 3). `images` is not changed."""
    channels = images[..., ::-1] if contract.channel_order == "bgr" else images
    return channels.astype(np.float32) * np.asarray(contract.scale, np.float32) + np.asarray(contract.offset, np.float32)


def unapply(contract: Contract, values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The picture that weights trained on `contract` read in `values`: float32 (..., 3) -> uint8 RGB, clipped to 0..255."""
    channels = (values - np.asarray(contract.offset, np.float32)) / np.asarray(contract.scale, np.float32)
    shown: NDArray[np.uint8] = np.clip(np.rint(channels), 0, 255).astype(np.uint8)
    return shown[..., ::-1] if contract.channel_order == "bgr" else shown
