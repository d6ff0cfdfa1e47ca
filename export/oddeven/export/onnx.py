"""What all ONNX formats share: tf2onnx's graph of the Keras model, and the spec in its metadata.

tf2onnx is called here and nowhere else.
"""

from __future__ import annotations

import re
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from oddeven.export.formats import Source
from oddeven.runtime.attachment import ONNX_KEY, seal_onnx
from oddeven.runtime.process import quiet
from oddeven.runtime.schema import to_json
from oddeven.runtime.spec import ModelSpec

OPSET = 17


def graph(source: Source) -> Any:
    """The Keras model as a float32 `onnx.ModelProto`: `image` (N, H, W, C) in, `probability` (N, 1) out.

    `from_keras` does not know Keras 3's Sequential models, so a traced function stands for the model.
    """
    import tensorflow as tf

    model = source.model
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        import tf2onnx

        signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")]
        traced = tf.function(lambda image: {"probability": model(image, training=False)}, input_signature=signature)
        proto, _ = tf2onnx.convert.from_function(traced, input_signature=signature, opset=OPSET)
    _renumber(proto.graph)
    return proto


def _renumber(graph: Any) -> None:
    """Number the names that tf2onnx made up (`Transpose__112:0`) from 1, in the order of the nodes.

    It counts on from what was converted before, and in the order of Python's sets, so equal models would differ.
    """
    numbers: dict[str, int] = {}
    constants = {tensor.name for tensor in graph.initializer}  # equal ones are merged under any of their names

    def named(name: str) -> str:
        if not (found := re.fullmatch(r"(.*)__(\d+)((?::\d+)?)", name)):
            return name
        number = numbers.setdefault(found[2], len(numbers) + 1)
        return f"{'constant' if name in constants else found[1]}__{number}{found[3]}"

    for node in graph.node:
        node.name = named(node.name)
        node.input[:], node.output[:] = map(named, node.input), map(named, node.output)
    for field in (graph.initializer, graph.value_info):
        for tensor in field:
            tensor.name = named(tensor.name)
        field.sort(key=lambda tensor: tensor.name)
    graph.doc_string = ""
    for tensor in (*graph.input, *graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"


def prepare(source: Source, scratch: Path) -> Path:
    """The float graph in a file of the folder `scratch`, optimised as onnxruntime wants it before quantizing."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain, prepared = scratch / "float.onnx", scratch / "prepared.onnx"
    onnx.save(graph(source), plain)
    quant_pre_process(plain, prepared, skip_symbolic_shape=True)
    return prepared


def to_bytes(proto: Any, spec: ModelSpec) -> bytes:
    """`proto` with `spec`, its maker and the standard image properties in its metadata, checked and serialised.

    Raises:
        onnx.checker.ValidationError: the graph is not valid ONNX, which is a defect of ours.
    """
    import onnx

    proto.producer_name, proto.producer_version = "oddeven", version("oddeven")
    proto.graph.name = spec.name
    properties = {ONNX_KEY: to_json(spec), **_image_properties(spec)}
    onnx.helper.set_model_props(proto, properties)
    onnx.checker.check_model(proto, full_check=True)
    return seal_onnx(proto.SerializeToString(deterministic=True))


def _image_properties(spec: ModelSpec) -> dict[str, str]:
    """ONNX's standard metadata for image models, where one of its values says what the spec says."""
    ranges = {(0.0, 1.0): "Normalized_0_1", (-1.0, 1.0): "Normalized_1_1", (0.0, 255.0): "NominalRange_0_255"}
    properties = {"Image.BitmapPixelFormat": "Gray8" if spec.input.channels == 1 else "Rgb8"}
    if name := ranges.get((spec.input.low, spec.input.high)):
        properties["Image.NominalPixelRange"] = name
    return properties
