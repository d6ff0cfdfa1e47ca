"""ONNX with static int8 quantization in QDQ form: int8 weights per channel, uint8 activations, float ends.

The last layer stays in float: it is a thousandth of the file, and coarse steps of its sum move the probability most.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.export.formats import Source
from oddeven.export.onnx import prepare, to_bytes

BATCH = 100
PRODUCTS = {"Conv", "Gemm", "MatMul"}


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
        quantization.quantize_static(
            prepared,
            target,
            Pictures(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=source.reduce_range,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=_last_layer(onnx.load(prepared).graph),
        )
        return to_bytes(onnx.load(target), source.spec)


def _last_layer(graph: Any) -> list[str]:
    """The names of the nodes from the last one that sums products to the output."""
    nodes = list(graph.node)
    last = max((i for i, node in enumerate(nodes) if node.op_type in PRODUCTS), default=len(nodes))
    return [node.name for node in nodes[last:]]
