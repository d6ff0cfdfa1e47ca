"""TFLite with int8 weights and arithmetic throughout; by default uint8 pixels in and a uint8 probability out."""

from __future__ import annotations

from functools import partial
from typing import Any

from oddeven.export.formats import Source
from oddeven.export.sigmoid import refine
from oddeven.export.tflite import representative, to_tflite


def convert(source: Source) -> bytes:
    """A quarter of the size of float32, and the fastest on most devices."""
    import tensorflow as tf

    def configure(converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative(source)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        ends = tf.float32 if source.float_io else tf.uint8
        converter.inference_input_type = converter.inference_output_type = ends

    return to_tflite(source, configure, partial(refine, threshold=source.spec.threshold))
