"""What all TFLite formats share: TensorFlow's converter over a signature with stable names."""

from __future__ import annotations

from typing import Any

from oddeven.runtime.attachment import attach_to_tflite
from oddeven.runtime.errors import ModelError
from oddeven.runtime.quiet import quiet
from oddeven.runtime.spec import ModelSpec


def converter(model: Any) -> Any:
    """A `tf.lite.TFLiteConverter` for `model`, set to nothing but float32."""
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_keras_model(model)


def to_bytes(configured: Any, spec: ModelSpec) -> bytes:
    """Run the `configured` converter and attach `spec`.

    Raises:
        ModelError: TensorFlow cannot convert the model.
    """
    from tensorflow.lite.python.convert import ConverterError

    try:
        with quiet():
            flatbuffer = configured.convert()
    except ConverterError as error:
        raise ModelError(f"TensorFlow cannot convert {spec.name} to TFLite: {error!s:.200}") from error
    return attach_to_tflite(flatbuffer, spec)
