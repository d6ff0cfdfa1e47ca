"""TFLite with float16 weights, widened to float32 as they are loaded."""

from __future__ import annotations

from typing import Any

from oddeven.export.formats import Source
from oddeven.export.tflite import to_tflite


def convert(source: Source) -> bytes:
    """Half the size of float32 at the same speed."""
    import tensorflow as tf

    def configure(converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]

    return to_tflite(source, configure)
