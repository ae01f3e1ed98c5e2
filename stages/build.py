"""Build the backbone with its weights and its pixel contract inside: raw uint8 pixels in, feature map out."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import keras

from kpipe.stage import File, Module, Pretrained, Stage
from stages import json_files
from stages.network import keras_files
from stages.network import weights as weights_files
from stages.network.flops import layer_flops
from stages.pixels import Contract, check_size, contract


def run(
    stage: Stage,
    *,
    model: Module["stages.backbones"],  # noqa: F821, UP037
    weights: Literal["random"] | Pretrained | File = "random",
    weights_scaling: Literal["model", "unit", "symmetric", "torch", "none"] = "model",
    seed: int = 0,
) -> None:
    """Write backbone.keras, layers.json and pixels.json."""
    keras.utils.clear_session()  # names of operations must not depend on what the process built before
    keras.utils.set_random_seed(seed)
    pixels = json_files.read(stage.inputs["preprocess"] / "pixels.json")
    backbone = stage.module(model)
    expected = contract(weights_scaling, backbone)
    applied = expected if pixels["scaling"] == "model" else Contract.from_json(pixels["contract"])
    with nullcontext() if weights == "random" else keras_files.no_random_weights():
        network = construct(backbone, tuple(pixels["image_size"]), applied)
    if weights != "random":
        weights_files.load(network, weights, backbone)
    keras_files.write(network, stage.out / "backbone.keras")
    json_files.write(stage.out / "layers.json", describe(network))
    json_files.write(
        stage.out / "pixels.json",
        {
            "applied": applied.to_json(),
            "expected": None if weights == "random" else expected.to_json(),
            "scaling": pixels["scaling"],
            "weights": Path(weights).name,
        },
    )


def construct(backbone: ModuleType, image_size: tuple[int, int], applied: Contract) -> keras.Model:
    """The flat network of keras.applications without its top, behind the pixel contract, with random weights.

    Input "image" is uint8 RGB (H, W, 3); layer "pixels" gives what the first convolution was made for; the output is
    float32 (h, w, channels). Only built-in layers, so that plain Keras loads the file on either backend.
    """
    check_size(image_size, backbone)
    image = keras.Input((*image_size, 3), dtype="uint8", name="image")
    channels = keras.ops.flip(image, axis=-1) if applied.channel_order == "bgr" else image
    pixels = keras.layers.Rescaling(applied.scales, offset=list(applied.offset), name="pixels")(channels)
    build = getattr(keras.applications, backbone.APPLICATION)
    return build(include_top=False, weights=None, input_tensor=pixels)


def describe(network: keras.Model) -> dict[str, Any]:
    """The layers of the network in order, with shapes, parameters and FLOPs for one image.

    `backbone_layers` are the layers as keras.applications lists them, its input layer (here "image") included.
    """
    layers = [
        {
            "name": layer.name,
            "type": type(layer).__name__,
            "output_shape": list(layer.output.shape),
            "parameters": layer.count_params(),
            "trainable_parameters": sum(math.prod(w.shape) for w in layer.trainable_weights),
            "flops": layer_flops(layer),
        }
        for layer in network.layers
    ]
    return {
        "layers": layers,
        "backbone_layers": [layer.name for layer in network.layers if layer.name != "pixels"],
        "parameters": network.count_params(),
        "flops": sum(layer["flops"] for layer in layers),
    }
