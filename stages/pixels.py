"""Pixel contracts: what a network's weights expect of the pixels it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kpipe.stage import StageError

Scaling = Literal["model", "unit", "symmetric", "none"]


@dataclass(frozen=True)
class Contract:
    """value = scale * channel + offset, channels in `channel_order`, for RGB channels of 0..255."""

    channel_order: Literal["rgb", "bgr"]
    scale: float
    offset: tuple[float, float, float]  # in the output's channel order

    def to_json(self) -> dict[str, Any]:
        """The contract as plain data."""
        return {"channel_order": self.channel_order, "scale": self.scale, "offset": list(self.offset)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Contract:
        """The contract that to_json described; KeyError where a member is missing."""
        return cls(data["channel_order"], float(data["scale"]), tuple(float(v) for v in data["offset"]))  # type: ignore[arg-type]


# The names and values of keras.applications.imagenet_utils.preprocess_input: "caffe" and (as "symmetric") "tf".
CONTRACTS = {
    "caffe": Contract("bgr", 1.0, (-103.939, -116.779, -123.68)),
    "unit": Contract("rgb", 1 / 255, (0.0, 0.0, 0.0)),
    "symmetric": Contract("rgb", 1 / 127.5, (-1.0, -1.0, -1.0)),
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
    return channels.astype(np.float32) * np.float32(contract.scale) + np.asarray(contract.offset, np.float32)


def unapply(contract: Contract, values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The picture that weights trained on `contract` read in `values`: float32 (..., 3) -> uint8 RGB, clipped to 0..255."""
    channels = (values - np.asarray(contract.offset, np.float32)) / np.float32(contract.scale)
    shown: NDArray[np.uint8] = np.clip(np.rint(channels), 0, 255).astype(np.uint8)
    return shown[..., ::-1] if contract.channel_order == "bgr" else shown
