"""The ONNX formats: tf2onnx's graph of the Keras model, quantized by onnxruntime, with the spec in its metadata.

tf2onnx is called here and nowhere else.
"""

from __future__ import annotations

import copy
import re
import tempfile
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from oddeven.export.conversion import Conversion, traced
from oddeven.export.onnx_model import OPSET, OnnxModel, true_inputs
from oddeven.runtime.arrays import Array
from oddeven.runtime.engines.metadata import ONNX_KEY, seal_onnx
from oddeven.runtime.engines.saturation import LIMIT, pair_sums, terms
from oddeven.runtime.process import quiet
from oddeven.runtime.schema import to_json

BATCH = 100
PRODUCTS = {"Conv", "Gemm", "MatMul"}
LARGEST = 127  # of a weight
DENOTATIONS = ("DATA_BATCH", "DATA_FEATURE", "DATA_FEATURE", "DATA_CHANNEL")  # of N, H, W, C
PIXEL_RANGES = {(0.0, 1.0): "Normalized_0_1", (-1.0, 1.0): "Normalized_1_1", (0.0, 255.0): "NominalRange_0_255"}


def float_graph(source: Conversion) -> Any:
    """The model as a float32 `onnx.ModelProto`: `image` (N, H, W, C) in, `probability` (N, 1) out."""
    model = source.model
    return copy.deepcopy(model.proto if isinstance(model, OnnxModel) else _from_keras(model))


@lru_cache(maxsize=1)  # every ONNX format begins with it
def _from_keras(model: Any) -> Any:
    """tf2onnx's own `from_keras` does not know Keras 3's Sequential models, so a traced function stands for them."""
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        import tf2onnx

        function = traced(model)
        signature = list(function.input_signature)
        proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    used = {name for node in proto.graph.node for name in node.input}
    inputs = [given for given in proto.graph.input if given.name in used]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)  # without constants that were folded into others
    _rename(proto.graph)
    return proto


def _rename(graph: Any) -> None:
    """Number the names that tf2onnx made up (`Transpose__112:0`) from 1, and name each constant after its first use.

    tf2onnx counts on from what was converted before, goes in the order of Python's sets, and merges equal constants
    under any of their names, so equal models would differ.
    """
    numbers: dict[str, int] = {}
    names: dict[str, str] = {}
    constants = {tensor.name for tensor in graph.initializer}

    def renamed(name: str) -> str:
        if name not in names:
            found = re.fullmatch(r"(.*__)(\d+)((?::\d+)?)", name)
            names[name] = f"{found[1]}{numbers.setdefault(found[2], len(numbers) + 1)}{found[3]}" if found else name
        return names[name]

    for node in graph.node:
        node.name = renamed(node.name)
        names |= {
            name: f"{node.name}/input_{i}" for i, name in enumerate(node.input) if name in constants - names.keys()
        }
        node.input[:], node.output[:] = map(renamed, node.input), map(renamed, node.output)
    for field in (graph.initializer, graph.value_info, graph.input):
        for tensor in field:
            tensor.name = renamed(tensor.name)
        field.sort(key=lambda tensor: tensor.name)
    graph.doc_string = ""
    for tensor in (*graph.input, *graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"


def to_bytes(proto: Any, source: Conversion) -> bytes:
    """`proto` with its spec, its producer and ONNX's standard image properties in its metadata, checked and serialised.

    Raises:
        onnx.checker.ValidationError: the graph is not valid ONNX, which is a defect of ours.
    """
    import onnx

    spec, about = source.spec, source.about
    proto.producer_name, proto.producer_version = "oddeven", version("oddeven")
    proto.model_version = about.version
    proto.doc_string = about.description or f"Tells {spec.labels[0]!r} from {spec.labels[1]!r} in an image."
    proto.graph.name = spec.name
    properties = {ONNX_KEY: to_json(spec), "Image.BitmapPixelFormat": "Gray8" if spec.input.channels == 1 else "Rgb8",
                  "Image.ColorSpaceGamma": "SRGB"}  # fmt: skip
    if pixel_range := PIXEL_RANGES.get((spec.input.low, spec.input.high)):
        properties["Image.NominalPixelRange"] = pixel_range
    said = {"model_author": about.author, "model_license": about.license}
    onnx.helper.set_model_props(proto, properties | {key: text for key, text in said.items() if text})
    (image,) = true_inputs(proto.graph)
    image.type.denotation = "IMAGE"
    for dimension, denotation in zip(image.type.tensor_type.shape.dim, DENOTATIONS, strict=True):
        dimension.denotation = denotation
    onnx.checker.check_model(proto, full_check=True)
    return seal_onnx(proto.SerializeToString(deterministic=True))


def quantized(source: Conversion, quantize: Callable[[Path, Path], None]) -> bytes:
    """The file that `quantize` makes of a float one, which is optimised as onnxruntime's quantizers want it."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch:
        plain, prepared, target = (Path(scratch, f"{name}.onnx") for name in ("plain", "prepared", "quantized"))
        onnx.save(float_graph(source), plain)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize(prepared, target)
        return to_bytes(onnx.load(target), source)


def float32(source: Conversion) -> bytes:
    """The model as it is."""
    return to_bytes(float_graph(source), source)


def float16(source: Conversion) -> bytes:
    """Half the size of float32; fast only where the device has float16 arithmetic."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = OnnxModel(convert_float_to_float16(float_graph(source), keep_io_types=True))
    half.topological_sort()  # the conversion puts the cast of the input after its first use
    return to_bytes(half.model, source)


def dynamic(source: Conversion) -> bytes:
    """A quarter of the size of float32; for convolutions slower than float."""
    from onnxruntime import quantization

    def quantize(prepared: Path, target: Path) -> None:
        # The products of int8 weights could overflow.
        quantization.quantize_dynamic(prepared, target, weight_type=quantization.QuantType.QUInt8)

    return quantized(source, quantize)


def int8(source: Conversion) -> bytes:
    """A quarter of the size of float32: QDQ form, weights per channel, the last layer of each output in float."""
    import onnx
    from onnxruntime import quantization

    class Images(quantization.CalibrationDataReader):  # type: ignore[misc]
        """The calibration images in batches, as onnxruntime asks for them: None at the end."""

        batches = iter(np.split(source.calibration, range(BATCH, len(source.calibration), BATCH)))

        def get_next(self) -> dict[str, Array] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"image": batch}

    def quantize(prepared: Path, target: Path) -> None:
        graph = onnx.load(prepared).graph
        last = _last_layers(graph)
        quantization.quantize_static(
            prepared,
            target,
            Images(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=last,
            extra_options={"TensorQuantOverrides": {} if source.full_range else _ranges(graph, last)},
        )

    return quantized(source, quantize)


def _ranges(graph: Any, excluded: list[str]) -> dict[str, list[dict[str, Any]]]:
    """For every channel of all weights, the range that its 8 bits stand for, as onnxruntime takes it.

    It is the largest weight, as usual, or more, so that no pair's rounded sum exceeds `LIMIT`: of two weights each may
    be rounded up by a half.
    """
    import onnx

    stored = {tensor.name: tensor for tensor in graph.initializer}
    ranges = {}
    for node in graph.node:
        if node.op_type in PRODUCTS and node.name not in excluded and node.input[1] in stored:
            weights = onnx.numpy_helper.to_array(stored[node.input[1]])
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            axis = 0 if node.op_type == "Conv" or attributes.get("transB") else weights.ndim - 1
            largest = np.abs(np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)).max(1)
            sums = pair_sums(terms(weights, node.op_type, attributes))
            pairs = sums.reshape(-1, sums.shape[-1]).max(0, initial=0.0)
            highest = np.maximum(largest, pairs * LARGEST / (LIMIT - 0.5)).tolist()
            ranges[node.input[1]] = [{"axis": axis, "rmin": -high, "rmax": high} for high in highest]
    return ranges


def _last_layers(graph: Any) -> list[str]:
    """The names of the nodes from the last one that sums products to each output."""
    makers = {output: node for node in graph.node for output in node.output}
    found, waiting = {}, [makers[output.name] for output in graph.output]
    while waiting:
        node = waiting.pop()
        found[node.name] = node
        if node.op_type not in PRODUCTS:
            waiting += [makers[name] for name in node.input if name in makers]
    return list(found)
