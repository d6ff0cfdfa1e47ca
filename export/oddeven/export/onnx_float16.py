"""ONNX with float16 weights and arithmetic, float32 at both ends."""

from __future__ import annotations

from oddeven.export.formats import Source
from oddeven.export.onnx import graph, to_bytes


def convert(source: Source) -> bytes:
    """Half the size of float32; fast only where the device has float16 arithmetic."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = OnnxModel(convert_float_to_float16(graph(source), keep_io_types=True))
    half.topological_sort()  # the conversion puts the cast of the input behind its first use
    return to_bytes(half.model, source.spec)
