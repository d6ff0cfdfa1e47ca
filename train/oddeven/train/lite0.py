"""EfficientNet-Lite0 without its classifier, and its ImageNet weights.

An EfficientNet-B0 (Tan and Le, 2019) whose makers left out what 8-bit integers do badly: no squeeze and excitation, and
ReLU6 for swish. `benchmarks/lite0.py` made the file of weights and shows that this network is the original.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from oddeven.runtime.errors import DataError
from oddeven.runtime.files import DAMAGED
from oddeven.train.data import checkout

# Repeats, kernel size, stride of the first, expansion, channels.
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))  # fmt: skip
STEM, TOP = 32, 1280
LOW, HIGH = -127 / 128, 1.0  # the network was trained on (pixel - 127) / 128


def features(image: Any) -> Any:
    """The network from `image`, a Keras tensor (N, H, W, 1 or 3), to its last feature map, (N, H/32, W/32, 1280)."""
    from keras import layers

    def normal(x: Any, convolution: Any, relu: bool = True) -> Any:
        x = layers.BatchNormalization(epsilon=1e-3, name=f"{convolution.name}_bn")(convolution(x))
        return layers.ReLU(6.0, name=f"{convolution.name}_relu")(x) if relu else x

    def wide(channels: int, kernel: int, stride: int, name: str) -> Any:
        return layers.Conv2D(channels, kernel, stride, "same", use_bias=False, name=name)

    x = normal(image, wide(STEM, 3, 2, "stem"))
    number = 0
    for repeats, kernel, stride, expansion, channels in STAGES:
        for repeat in range(repeats):
            name, entry = f"block{number}", x
            if expansion > 1:
                x = normal(x, wide(expansion * x.shape[-1], 1, 1, f"{name}_expand"))
            step = 1 if repeat else stride
            x = normal(x, layers.DepthwiseConv2D(kernel, step, "same", use_bias=False, name=f"{name}_depthwise"))
            x = normal(x, wide(channels, 1, 1, f"{name}_project"), relu=False)
            if repeat:
                x = layers.Add(name=f"{name}_add")([x, entry])
            number += 1
    return normal(x, wide(TOP, 1, 1, "top"))


def find_weights() -> Path:
    """The file of ImageNet's weights, in a checkout, as `checkout.find` has it.

    Raises:
        DataError: there is none.
    """
    path = checkout.find("lite0.npz")
    if path is None:
        raise DataError(
            "The pretrained weights of lite0 are not here. Run this in a checkout of oddeven, which holds them in "
            "train/data, say where lite0.npz is with --weights FILE, or train another network: oddeven train cnn."
        )
    return path


def load_weights(model: Any, path: Path | None = None) -> None:
    """Give the layers of `features` in `model` their weights from `path`, by default those of ImageNet.

    A grey image's one channel stands for all three: its first kernel is their sum.

    Raises:
        DataError: the file is missing, damaged, or of another network.
    """
    path = path or find_weights()
    own = {f"{layer.name}/{weight.name}": weight for layer in model.layers for weight in layer.weights}
    own = {name: weight for name, weight in own.items() if not name.startswith("probability/")}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name].astype(np.float32) for name in own if name in stored.files}
    except DAMAGED as error:
        raise DataError(f"{path} holds no weights of lite0 ({error}); see train/data/README.md.") from error
    if "stem/kernel" in arrays and model.input_shape[-1] == 1:
        arrays["stem/kernel"] = arrays["stem/kernel"].sum(axis=2, keepdims=True)
    for name, weight in own.items():
        came = arrays[name].shape if name in arrays else "nothing"
        if came != tuple(weight.shape):
            raise DataError(f"{path} holds the weights of another network: {name} is {came}, expected {weight.shape}.")
    for name, weight in own.items():
        weight.assign(arrays[name])
