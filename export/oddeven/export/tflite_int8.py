"""TFLite with int8 weights and arithmetic throughout, uint8 pixels in and a uint8 probability out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.export.tflite import converter, to_bytes
from oddeven.runtime.spec import ModelSpec


def convert(model: Any, spec: ModelSpec, calibration: npt.NDArray[np.float32]) -> bytes:
    """As `oddeven.export.formats.Convert`."""
    import tensorflow as tf

    def representative() -> Iterator[list[npt.NDArray[np.float32]]]:
        # The whole value range first, so that pixel 0 and pixel 255 are exactly representable.
        ends = np.resize(np.array([spec.input.low, spec.input.high], np.float32), calibration[:1].shape)
        for image in (ends, *(calibration[i : i + 1] for i in range(len(calibration)))):
            yield [image]

    full_integer = converter(model)
    full_integer.optimizations = [tf.lite.Optimize.DEFAULT]
    full_integer.representative_dataset = representative
    full_integer.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    full_integer.inference_input_type = full_integer.inference_output_type = tf.uint8
    return to_bytes(full_integer, spec)
