"""How often pairs of 8-bit products overflow in an ONNX file, over the calibration images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.export.activations import run_to
from oddeven.export.onnx import BATCH
from oddeven.runtime.arrays import Array
from oddeven.runtime.engines import saturation
from oddeven.runtime.engines.saturation import LIMIT, Layer, Overflow, pair_sums, terms

LOW, HIGH = -(2**15), 2**15 - 1


def measure_overflow(path: Path, images: npt.NDArray[np.float32]) -> tuple[Overflow, ...]:
    """`saturation.overflows(path)`, with the share of sums in which a pair did overflow.

    Args:
        path: an `.onnx` file in QDQ form.
        images: as the model takes them, float32 (N, H, W, C).
    """
    import onnx

    if not (found := saturation.overflows(path)):
        return ()
    proto = onnx.load(path)
    layers = {layer.name: layer for layer in saturation.layers(path.read_bytes())}
    risky = [layers[overflow.layer] for overflow in found]
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    quantizers = {node.input[0]: node for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    zero_points = [int(onnx.numpy_helper.to_array(stored[quantizers[layer.activations].input[2]])) for layer in risky]
    seen = np.zeros(len(risky))
    for batch in np.split(images, range(BATCH, len(images), BATCH)):
        activations = run_to(proto, [layer.activations for layer in risky], batch, optimise=False)
        for i, (layer, q_x, zero_point) in enumerate(zip(risky, activations, zero_points, strict=True)):
            x = q_x.astype(np.float32) - zero_point
            seen[i] += overflowing(proto, layer, x, zero_point).mean() * len(batch) / len(images)
    return tuple(replace(overflow, seen=float(share)) for overflow, share in zip(found, seen, strict=True))


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
