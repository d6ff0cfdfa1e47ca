"""ONNX with static int8 quantization in QDQ form: int8 weights per channel, uint8 activations, float ends.

The last layer stays in float: it is a thousandth of the file, and coarse steps of its sum move the probability most.
Weights use as much of their 8 bits as lets no pair of products overflow on any CPU (see `oddeven.runtime.saturation`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.export.formats import Source
from oddeven.export.onnx import prepare, to_bytes
from oddeven.runtime.saturation import LIMIT, pair_sums, terms

BATCH = 100
PRODUCTS = {"Conv", "Gemm", "MatMul"}
LARGEST = 127  # of a weight


def convert(source: Source) -> bytes:
    """A quarter of the size of float32."""
    import onnx
    from onnxruntime import quantization

    class Pictures(quantization.CalibrationDataReader):  # type: ignore[misc]
        """The calibration pictures in batches, as onnxruntime asks for them."""

        def __init__(self) -> None:
            self._batches = iter(np.split(source.calibration, range(BATCH, len(source.calibration), BATCH)))

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            """The next batch, or None at the end."""
            batch = next(self._batches, None)
            return None if batch is None else {"image": batch}

    with tempfile.TemporaryDirectory() as scratch:
        prepared, target = prepare(source, Path(scratch)), Path(scratch) / "int8.onnx"
        graph = onnx.load(prepared).graph
        last = _last_layer(graph)
        quantization.quantize_static(
            prepared,
            target,
            Pictures(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=last,
            extra_options={"TensorQuantOverrides": {} if source.full_range else _ranges(graph, last)},
        )
        return to_bytes(onnx.load(target), source.spec)


def _ranges(graph: Any, excluded: list[str]) -> dict[str, list[dict[str, Any]]]:
    """For every channel of all weights, the range that stands for its 8 bits, as onnxruntime takes it.

    It is the largest weight, as usual, or more, so that no pair's rounded sum exceeds `LIMIT`: of two weights each may
    be rounded up by a half.
    """
    import onnx

    stored = {tensor.name: tensor for tensor in graph.initializer}
    ranges = {}
    for node in graph.node:
        if node.op_type in PRODUCTS and node.name not in excluded and node.input[1] in stored:
            weights = onnx.numpy_helper.to_array(stored[node.input[1]])
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            axis = 0 if node.op_type == "Conv" or attributes.get("transB") else weights.ndim - 1
            largest = np.abs(np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)).max(1)
            sums = pair_sums(terms(weights, node.op_type, attributes))
            pairs = sums.reshape(-1, sums.shape[-1]).max(0, initial=0.0)
            highest = np.maximum(largest, pairs * LARGEST / (LIMIT - 0.5)).tolist()
            ranges[node.input[1]] = [{"axis": axis, "rmin": -high, "rmax": high} for high in highest]
    return ranges


def _last_layer(graph: Any) -> list[str]:
    """The names of the nodes from the last one that sums products to the output."""
    nodes = list(graph.node)
    last = max((i for i, node in enumerate(nodes) if node.op_type in PRODUCTS), default=len(nodes))
    return [node.name for node in nodes[last:]]
