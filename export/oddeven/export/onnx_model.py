"""A float `.onnx` file of any origin, as a graph in this project's form that predicts as a Keras model does."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.errors import ModelError, reason
from oddeven.runtime.value_range import ValueRange

OPSET = 17  # the least that per-channel weights need is 13
OWN = {"", "ai.onnx"}
QUANTIZED = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}
PREFIX = "model/"
EXPECTED = "expected float32 images (N, 1 or 3, height, width) or (N, height, width, 1 or 3)"


@dataclass(frozen=True)
class OnnxModel:
    """A model like one of Keras, as far as export needs it.

    Attributes:
        proto: `onnx.ModelProto`: `image` (N, H, W, C) in, `probability` (N, 1) out, both float32.
    """

    proto: Any

    @property
    def input_shape(self) -> tuple[Any, ...]:
        """(None, height, width, channels)."""
        return None, *_sizes(self.proto.graph.input[0])[1:]

    def weights(self) -> list[tuple[str, int]]:
        """The kind of each operator with weights, and how many it has."""
        import onnx

        graph = self.proto.graph
        floats = (tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
        sizes = {tensor.name: prod(tensor.dims) for tensor in floats}
        counts = [(node.op_type, sum(sizes.get(name, 0) for name in node.input)) for node in graph.node]
        return [(kind, count) for kind, count in counts if count]

    def predict(self, images: npt.NDArray[np.float32], batch_size: int = 32, verbose: int = 0) -> Any:
        """The probability of label 1 for each image, float32 (N, 1)."""
        import onnxruntime

        session = onnxruntime.InferenceSession(self.proto.SerializeToString(), providers=["CPUExecutionProvider"])
        starts = range(0, len(images), batch_size)
        return np.concatenate([session.run(None, {"image": images[i : i + batch_size]})[0] for i in starts])


def read_onnx_model(path: Path, from_logits: bool = False) -> OnnxModel:
    """The model in the `.onnx` file `path`; its images may have their channels first or last.

    Args:
        from_logits: it gives one or two logits rather than probabilities.

    Raises:
        ModelError: the file is damaged, not of float32, not a two-class image model, or no plain ONNX.
    """
    import onnx

    try:
        proto = onnx.load(path)
        onnx.checker.check_model(proto)
    except Exception as error:  # protobuf and onnx raise their own
        raise ModelError(f"{path} is no readable ONNX file ({reason(error)}).") from error
    _check_graph(proto, path)
    try:
        if next(entry.version for entry in proto.opset_import if entry.domain in OWN) < OPSET:
            proto = onnx.version_converter.convert_version(proto, OPSET)
        proto = onnx.compose.add_prefix(proto, PREFIX)
        _take_images(proto)
        _give_probability(proto, from_logits, path)
        proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
        onnx.checker.check_model(proto, full_check=True)
        model = OnnxModel(proto)
        model.predict(np.zeros((3, *map(int, model.input_shape[1:])), np.float32), 2)
    except ModelError:
        raise
    except Exception as error:  # onnx's converters in C++ and onnxruntime raise whatever they like
        raise ModelError(
            f"{path} cannot run on several images at a time ({reason(error)}); export it with a free batch size and "
            f"opset {OPSET}."
        ) from error
    return model


def with_values(model: OnnxModel, values: ValueRange) -> OnnxModel:
    """`model` behind the mean, deviation and channel order of `values`; its images then are RGB in `low` to `high`."""
    import onnx

    kernel, bias = values.matrix()
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    (image,), graph = proto.graph.input, proto.graph
    for node in graph.node:
        node.input[:] = ["values" if name == image.name else name for name in node.input]
    graph.initializer.extend(
        [onnx.numpy_helper.from_array(kernel, "scale"), onnx.numpy_helper.from_array(bias, "shift")]
    )
    for node in (onnx.helper.make_node("Add", ["scaled", "shift"], ["values"], "shifted"),
                 onnx.helper.make_node("MatMul", [image.name, "scale"], ["scaled"], "scaled")):  # fmt: skip
        graph.node.insert(0, node)
    return OnnxModel(proto)


def true_inputs(graph: Any) -> list[Any]:
    """The inputs of a graph that are no constants; some converters list those as well."""
    constants = {tensor.name for tensor in graph.initializer}
    return [given for given in graph.input if given.name not in constants]


def _check_graph(proto: Any, path: Path) -> None:
    """Refuse a graph that is not of float32, takes no images of one size, or has operators that are not ONNX's own."""
    import onnx

    graph, dtypes = proto.graph, onnx.TensorProto.DataType.Name
    operators = {(node.domain, node.op_type) for node in graph.node}
    if foreign := sorted(f"{domain}.{name}" for domain, name in operators if domain not in OWN):
        raise ModelError(f"{path} has operators that are not ONNX's own ({', '.join(foreign[:3])}).")
    if any(name in QUANTIZED for _, name in operators):
        raise ModelError(f"{path} has been quantized already; expected float weights, export quantizes them.")
    inputs = true_inputs(graph)
    for kind, found in (("inputs", inputs), ("outputs", graph.output)):
        if len(found) != 1:
            raise ModelError(f"{path} has {len(found)} {kind} ({', '.join(t.name for t in found)}); expected one.")
    kinds = {inputs[0].type.tensor_type.elem_type, *(tensor.data_type for tensor in graph.initializer)}
    if halves := kinds & {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}:
        raise ModelError(f"{path} computes in {dtypes(halves.pop()).lower()}; expected float32, export it with that.")
    sizes = _sizes(inputs[0])
    if inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT or len(sizes) != 4:
        raise ModelError(f"{path} takes {dtypes(inputs[0].type.tensor_type.elem_type).lower()} {sizes}; {EXPECTED}.")
    if None in sizes[1:]:
        raise ModelError(
            f"{path} takes images of any size, {sizes}; {EXPECTED}. Fix the size with: python -m "
            f"onnxruntime.tools.make_dynamic_shape_fixed --input_name {inputs[0].name} --input_shape 1,3,224,224"
        )
    if not {1, 3} & {sizes[1], sizes[3]}:
        raise ModelError(f"{path} takes {sizes}; {EXPECTED}.")


def _take_images(proto: Any) -> None:
    """Let the graph take `image`, (N, H, W, C), any number at a time."""
    import onnx

    graph = proto.graph
    (source,) = true_inputs(graph)
    name, (_, *sizes) = source.name, _sizes(source)
    del graph.input[:], graph.value_info[:]
    if sizes[0] in {1, 3} and sizes[2] not in {1, 3}:
        sizes = [*sizes[1:], sizes[0]]
        graph.node.insert(0, onnx.helper.make_node("Transpose", ["image"], [name], "channels_first", perm=[0, 3, 1, 2]))
    else:
        graph.node.insert(0, onnx.helper.make_node("Identity", ["image"], [name], "channels_last"))
    graph.input.append(onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", *sizes]))


def _give_probability(proto: Any, from_logits: bool, path: Path) -> None:
    """Let the graph give `probability`, (N, 1). Of two units, softmax(z)[1] = sigmoid(z1 - z0)."""
    import onnx

    graph = proto.graph
    (sink,) = graph.output
    last = next(node for node in graph.node if sink.name in node.output)
    units, kind = (_sizes(sink)[1:] or [1]), last.op_type
    if units not in ([1], [2]):
        raise ModelError(f"{path} gives {units} for an image; expected one or two numbers.")
    if from_logits and kind in {"Sigmoid", "Softmax"}:
        raise ModelError(f"{path} ends in {kind}, so it does not give logits; leave out --from-logits.")
    if not from_logits and kind != ("Sigmoid" if units == [1] else "Softmax"):
        raise ModelError(f"{path} ends in {kind}, so it gives no probability; add a sigmoid or pass --from-logits.")
    made, z = [], last.input[0] if kind in {"Sigmoid", "Softmax"} else sink.name
    constants = {"first": [0], "second": [1], "column": [-1, 1]}
    graph.initializer.extend(onnx.numpy_helper.from_array(np.array(v, np.int64), k) for k, v in constants.items())
    if units == [2]:
        for column in ("first", "second"):
            made.append(onnx.helper.make_node("Gather", [z, column], [f"z_{column}"], axis=1))
        made.append(onnx.helper.make_node("Sub", ["z_second", "z_first"], ["difference"]))
        z = "difference"
    made.append(onnx.helper.make_node("Reshape", [z, "column"], ["logit"]))
    made.append(onnx.helper.make_node("Sigmoid", ["logit"], ["probability"]))
    if kind in {"Sigmoid", "Softmax"}:
        graph.node.remove(last)
    for number, node in enumerate(made):
        node.name = f"probability_{number}"
    graph.node.extend(made)
    del graph.output[:]
    graph.output.append(onnx.helper.make_tensor_value_info("probability", onnx.TensorProto.FLOAT, ["batch", 1]))


def _sizes(tensor: Any) -> list[int | None]:
    """The sizes of a graph's input or output, None where any goes."""
    return [size.dim_value or None for size in tensor.type.tensor_type.shape.dim]
