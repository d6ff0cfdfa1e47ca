"""ONNX with int8 weights and float ends; activations are quantized on the fly, so no picture calibrates it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from oddeven.export.formats import Source
from oddeven.export.onnx import prepare, to_bytes


def convert(source: Source) -> bytes:
    """A quarter of the size of float32; for convolutions slower than float."""
    import onnx
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "dynamic.onnx"
        quantization.quantize_dynamic(
            prepare(source, Path(scratch)),
            target,
            weight_type=quantization.QuantType.QUInt8,  # of int8 weights the products can overflow
        )
        return to_bytes(onnx.load(target), source.spec)
