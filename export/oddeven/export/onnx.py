"""What all ONNX formats share: tf2onnx's graph of the Keras model, and the spec in its metadata.

tf2onnx is called here and nowhere else.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any, cast

from oddeven.runtime.attachment import ONNX_KEY
from oddeven.runtime.quiet import quiet
from oddeven.runtime.schema import to_json
from oddeven.runtime.spec import ModelSpec

OPSET = 17


def graph(model: Any) -> Any:
    """The Keras `model` as a float32 `onnx.ModelProto`: `image` (N, H, W, C) in, `probability` (N, 1) out.

    `from_keras` does not know Keras 3's Sequential models, so a traced function stands for the model.
    """
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tf2onnx

        signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")]
        traced = tf.function(lambda image: {"probability": model(image, training=False)}, input_signature=signature)
        with quiet():
            proto, _ = tf2onnx.convert.from_function(traced, input_signature=signature, opset=OPSET)
    return proto


def to_bytes(proto: Any, spec: ModelSpec) -> bytes:
    """`proto` with `spec` and its maker in its metadata, checked and serialised.

    Raises:
        onnx.checker.ValidationError: the graph is not valid ONNX, which is a defect of ours.
    """
    import onnx

    proto.producer_name, proto.producer_version = "oddeven", version("oddeven")
    proto.graph.name = spec.name
    onnx.helper.set_model_props(proto, {ONNX_KEY: to_json(spec)})
    onnx.checker.check_model(proto, full_check=True)
    return cast(bytes, proto.SerializeToString(deterministic=True))
