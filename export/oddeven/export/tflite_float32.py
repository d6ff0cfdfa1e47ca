"""TFLite with float32 weights and arithmetic."""

from __future__ import annotations

from oddeven.export.formats import Source
from oddeven.export.tflite import to_tflite


def convert(source: Source) -> bytes:
    """The model as it is."""
    return to_tflite(source)
