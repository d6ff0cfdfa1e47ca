"""What rounding a layer's weights adds to its output on average, taken off its biases.

Nagel and others, 2019, Data-free quantization through weight equalization and bias correction: a layer whose weights W
are stored as W + E is wrong by E x, on average by E mean(x). In a deep network these errors add up: those of a `lite0`
on images with white backgrounds moved all sums by 1.3, and one label won.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from oddeven.export.activations import tflite_activations
from oddeven.export.flatbuffer import add_to_bias, parse
from oddeven.runtime.arrays import Array

DEEP = 20  # layers with weights; fewer add up to little: less than 0.05 of the sum in the shipped models
IMAGES, BATCH = 100, 16  # that the mean is taken over


def correct(parsed: Any, convert: Callable[[], bytes], calibration: Array) -> None:
    """Correct the biases of a full-integer `ModelT`; a network of fewer than `DEEP` layers is left as it is.

    Args:
        convert: gives the same network in float32, with tensors of the same names.
        calibration: images as that network takes them, float32 (N, H, W, C), in random order.
    """
    graph, rounded = parsed.subgraphs[0], _layers(parsed)
    if len(rounded) < DEEP:
        return
    plain = convert()
    exact = parse(plain)
    original, means = _layers(exact), _mean_activations(plain, calibration[:IMAGES])
    for name in (name for name in rounded if name in original):
        weights = graph.tensors[rounded[name].inputs[1]]
        entry, real_weights = (exact.subgraphs[0].tensors[index] for index in original[name].inputs[:2])
        error, mean = _values(parsed, weights) - _values(exact, real_weights), means[entry.name.decode()]
        axis, width = weights.quantization.quantizedDimension, error.shape[-1]
        if axis == error.ndim - 1:  # a depthwise convolution, whose channels each come from one
            mean = np.repeat(mean, width // len(mean))
        if len(mean) != width:
            continue  # a convolution in groups
        shift = (error * mean).sum(tuple(other for other in range(error.ndim) if other != axis))
        add_to_bias(parsed, rounded[name], -shift)


def _mean_activations(model: bytes, images: Array) -> dict[str, Array]:
    """The mean of each tensor of a float32 flatbuffer over `images`, (channels,), by its name."""
    sums: dict[str, Array] = {}
    for start in range(0, len(images), BATCH):
        for name, x in tflite_activations(model, images[start : start + BATCH]).items():
            sums[name] = sums.get(name, np.zeros(1)) + x.mean(tuple(range(1, x.ndim - 1))).sum(0, dtype=np.float64)
    return {name: total / len(images) for name, total in sums.items()}


def _layers(parsed: Any) -> dict[bytes, Any]:
    """The operators with weights and a bias of a `ModelT`, by the names of their outputs."""
    from tensorflow.lite.python import schema_py_generated as schema

    kinds = schema.BuiltinOperator
    weighted = {kinds.CONV_2D, kinds.DEPTHWISE_CONV_2D, kinds.FULLY_CONNECTED}
    graph = parsed.subgraphs[0]
    return {
        graph.tensors[operator.outputs[0]].name: operator
        for operator in graph.operators
        if parsed.operatorCodes[operator.opcodeIndex].builtinCode in weighted
        and len(operator.inputs) > 2
        and operator.inputs[2] >= 0
        and parsed.buffers[graph.tensors[operator.inputs[1]].buffer].data is not None
    }


def _values(parsed: Any, tensor: Any) -> Array:
    """The real values of a constant, int8 or float32."""
    stored = bytes(parsed.buffers[tensor.buffer].data)
    scales = getattr(tensor.quantization, "scale", None)
    if scales is None:
        return np.frombuffer(stored, np.float32).reshape(tensor.shape)
    shape = [1] * len(tensor.shape)
    shape[tensor.quantization.quantizedDimension] = -1
    return np.frombuffer(stored, np.int8).reshape(tensor.shape) * np.asarray(scales, np.float32).reshape(shape)
