"""Models that oddeven did not train, small enough for tests, and images on which they are right.

Each tells reddish images (label 1) from bluish ones by the mean of the red channel less that of the blue.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

LABELS = ("blue", "red")
SIDE = 32
STEEP = 12.0  # logit for a difference of the whole value range


def write_images(folder, count=40):
    """`count` noisy PNG images of each label in `folder`/label."""
    random = np.random.default_rng(0)
    for label, strong in (("blue", 2), ("red", 0)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 160, (SIDE, SIDE, 3))
            pixels[..., strong] += 60
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number:03}.png")
    return folder


def keras_model(units=1, activation="sigmoid", span=1.0, before=(), channels=(0, 2), shape=(SIDE, SIDE, 3)):
    """A Keras model for values that span `span`, with the layers `before` in front."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    kernel = np.zeros((3, units))
    kernel[channels[0], -1], kernel[channels[1], -1] = STEEP / span, -STEEP / span
    image = x = keras.Input(shape, name="photo")
    for layer in before:
        x = layer(x)
    x = layers.GlobalAveragePooling2D()(x)
    last = layers.Dense(units, activation=activation)
    model = keras.Model(image, last(x))
    last.set_weights([kernel, np.zeros(units)])
    return model


def onnx_model(path, first=True, units=1, end="Sigmoid", batch=1, side=SIDE, **changes):
    """An ONNX file as PyTorch writes them: channels `first`, a fixed `batch`, the head `end`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    identity = np.zeros((4, 3, 3, 3), np.float32)
    identity[range(3), range(3), 1, 1] = 1.0
    kernel = np.zeros((units, 4), np.float32)
    kernel[-1, 0], kernel[-1, 2] = STEEP, -STEEP
    stored = {"kernel": identity, "dense": kernel, "bias": np.zeros(units, np.float32)}
    nodes = [
        helper.make_node("Conv", ["photo" if first else "moved", "kernel"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "dense", "bias"], ["z" if end else "out"], "fc", transB=1),
    ]
    if not first:
        nodes.insert(0, helper.make_node("Transpose", ["photo"], ["moved"], "move", perm=[0, 3, 1, 2]))
    if end:
        nodes.append(helper.make_node(end, ["z"], ["out"], "head"))
    sizes = [batch, 3, side, side] if first else [batch, side, side, 3]
    kind = changes.get("kind", TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "elsewhere",
        [helper.make_tensor_value_info("photo", kind, sizes)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [batch, units])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    opsets = [helper.make_opsetid("", changes.get("opset", 17))]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path
