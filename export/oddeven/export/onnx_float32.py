"""ONNX with float32 weights and arithmetic."""

from __future__ import annotations

from oddeven.export.formats import Source
from oddeven.export.onnx import graph, to_bytes


def convert(source: Source) -> bytes:
    """The model as it is."""
    return to_bytes(graph(source), source.spec)
