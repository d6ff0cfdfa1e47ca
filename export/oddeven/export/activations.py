"""What flows between the operators of a TFLite or ONNX file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from oddeven.runtime.arrays import Array, Pixels
from oddeven.runtime.classifier import Classifier

DEQUANTIZED = "_DequantizeLinear_Output"  # onnxruntime's name for a tensor on its way back from int8


def activations(path: Path, images: Pixels) -> dict[str, Array]:
    """The real values in the file `path`, whose suffix is in `READERS`, for uint8 (N, H, W, C), by tensor name."""
    with Classifier.load(path) as classifier:
        return READERS[path.suffix](path.read_bytes(), classifier.encode(images))


def tflite_activations(model: bytes, batch: Array) -> dict[str, Array]:
    """The input and the outputs of all operators, as real values, float32, by tensor name.

    Args:
        batch: in the dtype of the input.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,  # those keep no tensors
    )
    image = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(image, batch.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(image, batch)
    interpreter.invoke()
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    made = [index for operation in interpreter._get_ops_details() for index in operation["outputs"]]
    found = {}
    for index in (image, *made):
        scale, zero_point = tensors[index]["quantization"]
        if scale or tensors[index]["dtype"] is np.float32:
            x = interpreter.get_tensor(index).astype(np.float32)
            found[tensors[index]["name"]] = (x - zero_point) * np.float32(scale) if scale else x
    return found


def onnx_activations(model: bytes, batch: Array) -> dict[str, Array]:
    """The outputs of all nodes that have them as real values, channels last, by tensor name.

    Args:
        batch: in the dtype of the input.
    """
    import onnx

    proto = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    kinds = {info.name: info.type.tensor_type.elem_type for info in proto.graph.value_info}
    made = [name for node in proto.graph.node for name in node.output]
    names = [name for name in made if kinds.get(name) == onnx.TensorProto.FLOAT]
    found = {}
    for name, x in zip(names, run_to(proto, names, batch), strict=True):
        found[name.removesuffix(DEQUANTIZED)] = np.moveaxis(x, 1, -1) if x.ndim > 1 else x
    return found


def run_to(proto: Any, names: list[str], batch: Array, optimise: bool = True) -> list[Array]:
    """The values of the tensors `names` inside the graph `proto` for a batch, (N, H, W, C) in the input's dtype.

    Args:
        optimise: run the kernels that onnxruntime would run, rather than each node by itself.
    """
    import onnx
    import onnxruntime

    wider = onnx.ModelProto.FromString(proto.SerializeToString())
    wider.graph.output.extend(map(onnx.helper.make_empty_tensor_value_info, names))
    options = onnxruntime.SessionOptions()
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(wider.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(names, {session.get_inputs()[0].name: batch}))


READERS: Mapping[str, Callable[[bytes, Array], dict[str, Array]]] = {
    ".tflite": tflite_activations,
    ".onnx": onnx_activations,
}
