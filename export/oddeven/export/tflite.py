"""The TFLite formats: TensorFlow's converter on one signature with stable names, and the spec attached."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.export.bias import correct
from oddeven.export.conversion import Conversion, traced
from oddeven.export.flatbuffer import parse
from oddeven.export.sigmoid import refine
from oddeven.export.tflite_metadata import describe, with_metadata
from oddeven.runtime.engines.metadata import attach_to_tflite
from oddeven.runtime.errors import ModelError, reason
from oddeven.runtime.process import quiet

SIGNATURE = "serving_default"


def converted(source: Conversion, quantize: Mapping[str, Any] | None = None) -> Any:
    """The model as a `ModelT`, `image` to `probability`.

    The traced function is saved without the Keras layers' own bookkeeping, so equal models give equal bytes.

    Args:
        quantize: to what, as attributes of the `tf.lite.TFLiteConverter`; without it the weights stay float32.

    Raises:
        ModelError: TensorFlow cannot convert the model.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError

    holder = tf.Module()
    holder.weights = [weight.value for weight in source.model.weights]
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            tf.saved_model.save(holder, folder, signatures={SIGNATURE: traced(source.model).get_concrete_function()})
            converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
            if quantize is not None:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                for name, value in quantize.items():
                    setattr(converter, name, value)
            return parse(converter.convert())
    except ConverterError as error:
        raise ModelError(f"TensorFlow cannot convert {source.spec.name} to TFLite: {reason(error, 200)}") from error


def to_bytes(parsed: Any, source: Conversion, metadata: dict[str, Any] | None = None) -> bytes:
    """The flatbuffer of a `ModelT`, with metadata, those of an image and a probability if need be, and its spec."""
    return attach_to_tflite(with_metadata(parsed, metadata or describe(source)), source.spec)


def representative(source: Conversion) -> Callable[[], Iterator[list[npt.NDArray[np.float32]]]]:
    """The calibration images one at a time, as TensorFlow's converter asks for them.

    An image of both ends of the value range comes first, so that pixel 0 and pixel 255 are exactly representable.
    """
    images, spec = source.calibration, source.spec.input
    ends = np.resize(np.array([spec.low, spec.high], np.float32), images[:1].shape)
    return lambda: ([image] for image in (ends, *(images[i : i + 1] for i in range(len(images)))))


def float32(source: Conversion) -> bytes:
    """The model as it is."""
    return to_bytes(converted(source), source)


def float16(source: Conversion) -> bytes:
    """Half the size of float32 at the same speed."""
    import tensorflow as tf

    target = tf.lite.TargetSpec(supported_types=[tf.float16])
    return to_bytes(converted(source, {"target_spec": target}), source)


def dynamic(source: Conversion) -> bytes:
    """A quarter of the size of float32; activations are quantized as they come."""
    return to_bytes(converted(source, {}), source)


def int8(source: Conversion) -> bytes:
    """A quarter of the size of float32, and the fastest on most devices."""
    parsed = converted(source, full_integer(source))
    correct(parsed, lambda: float32(source), source.calibration)
    refine(parsed, source.spec.threshold)
    return to_bytes(parsed, source)


def full_integer(source: Conversion) -> dict[str, Any]:
    """What makes a converter quantize everything, by the calibration images of `source`."""
    import tensorflow as tf

    ends = tf.float32 if source.float_io else tf.uint8
    return {
        "representative_dataset": representative(source),
        "target_spec": tf.lite.TargetSpec(supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8]),
        "inference_input_type": ends,
        "inference_output_type": ends,
    }


def int16x8(source: Conversion) -> bytes:
    """As small as int8 and nearly as exact as float, but slow: TFLite has only reference kernels for it."""
    import tensorflow as tf

    ops = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    quantize = {"representative_dataset": representative(source), "target_spec": tf.lite.TargetSpec([ops])}
    return to_bytes(converted(source, quantize), source)
