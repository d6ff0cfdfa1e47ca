"""How often pairs of 8-bit products really overflow in an ONNX file: from its weights and the calibration pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Array
from oddeven.runtime.engines import saturation
from oddeven.runtime.engines.saturation import LIMIT, Layer, Overflow, pair_sums, terms

BATCH = 100
LOW, HIGH = -(2**15), 2**15 - 1


def measure_overflow(path: Path, pictures: npt.NDArray[np.float32]) -> tuple[Overflow, ...]:
    """`saturation.overflows(path)`, with the share of sums in which a pair did overflow.

    Args:
        path: an `.onnx` file in QDQ form.
        pictures: real values, float32 (N, H, W, C).
    """
    import onnx

    if not (found := saturation.overflows(path)):
        return ()
    model = path.read_bytes()
    proto = onnx.load_from_string(model)
    layers = {layer.name: layer for layer in saturation.layers(model)}
    risky = [layers[overflow.layer] for overflow in found]
    seen = [0.0] * len(found)
    for batch in np.split(pictures, range(BATCH, len(pictures), BATCH)):
        activations = _activations(proto, risky, batch)
        for i, layer in enumerate(risky):
            share = float(overflowing(proto, layer, *activations[layer.activations]).mean())
            seen[i] += share * len(batch) / len(pictures)
    return tuple(dataclasses.replace(overflow, seen=share) for overflow, share in zip(found, seen, strict=True))


def overflowing(proto: Any, layer: Layer, activations: npt.NDArray[np.float32], zero_point: int) -> Array:
    """Whether a pair of products overflows in each sum of `layer`, bool, in the shape of its output, channels last.

    The layer itself is run, in float32, which holds these integers exactly: with all weights 0 but one pair of each
    sum's, and again with the next pair, until no sum has one left that can overflow.

    Args:
        proto: the `onnx.ModelProto` that the layer is of.
        activations: as stored, but less the zero point, as which a convolution pads.
        zero_point: added again to the result.
    """
    import onnx
    import onnxruntime

    run = next(node for node in proto.graph.node if node.output[0] == layer.output)
    node = onnx.helper.make_node(layer.kind, ["x", "w"], ["y"])
    node.attribute.extend(run.attribute)
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xwy"]
    graph = onnx.helper.make_graph([node], "pairs", tensors[:2], tensors[2:])
    single = onnx.helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    session = onnxruntime.InferenceSession(single.SerializeToString(), providers=["CPUExecutionProvider"])
    added = terms(layer.weights, layer.kind, layer.attributes)
    places = terms(np.arange(layer.weights.size).reshape(layer.weights.shape), layer.kind, layer.attributes)
    can = pair_sums(added) > LIMIT
    rank = np.cumsum(can, -2) * can
    happened: Any = False
    for number in range(1, int(rank.max()) + 1):
        chosen = np.repeat(rank == number, 2, -2)[..., : added.shape[-2], :]
        weights = np.zeros(layer.weights.shape, np.float32)
        weights.flat[places[chosen]] = added[chosen]
        offset = zero_point * np.where(chosen, added, 0).sum(-2, dtype=np.float32)
        sums = session.run(None, {"x": activations, "w": weights})[0]
        sums = np.moveaxis(sums, 1 if layer.kind == "Conv" else -1, -1) + offset
        happened |= (sums < LOW) | (sums > HIGH)
    return np.asarray(happened)


def _activations(proto: Any, layers: list[Layer], batch: Array) -> dict[str, tuple[npt.NDArray[np.float32], int]]:
    """The 8-bit tensors that go into `layers`, less their zero points, and these; by name."""
    import onnx
    import onnxruntime

    wider = onnx.ModelProto.FromString(proto.SerializeToString())
    stored = {tensor.name: tensor for tensor in wider.graph.initializer}
    points = {node.input[0]: stored[node.input[2]] for node in wider.graph.node if node.op_type == "DequantizeLinear"}
    names = list(dict.fromkeys(layer.activations for layer in layers))
    wider.graph.output.extend(onnx.helper.make_tensor_value_info(name, points[name].data_type, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(wider.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = {}
    for name, q_values in zip(names, session.run(names, {session.get_inputs()[0].name: batch}), strict=True):
        zero_point = int(onnx.numpy_helper.to_array(points[name]))
        found[name] = q_values.astype(np.float32) - zero_point, zero_point
    return found
