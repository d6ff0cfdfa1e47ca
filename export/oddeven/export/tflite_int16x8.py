"""TFLite with int8 weights and int16 activations, float at both ends."""

from __future__ import annotations

from typing import Any

from oddeven.export.formats import Source
from oddeven.export.tflite import representative, to_tflite


def convert(source: Source) -> bytes:
    """As small as int8 and nearly as exact as float, but slow: TFLite has only reference kernels for it."""
    import tensorflow as tf

    def configure(converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative(source)
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]

    return to_tflite(source, configure)
