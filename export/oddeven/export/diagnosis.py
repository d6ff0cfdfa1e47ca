"""Where a quantized file goes wrong, by its layers' activations against the float file's, and what to try next."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from oddeven.export.conversion import Conversion
from oddeven.export.formats import FORMATS
from oddeven.runtime.arrays import Array, Pixels
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.saturation import layer_name
from oddeven.runtime.verify.report import FileReport, LayerError

WORST = 5
PICTURES = 100
DEQUANTIZED = "_DequantizeLinear_Output"  # onnxruntime's name for a tensor on its way back from int8

Activations = dict[str, Array]


def explain_failure(report: FileReport, path: Path, source: Conversion, pictures: Pixels) -> FileReport:
    """`report` on the file `path`, which does not pass, with its worst layers and what to try next.

    Args:
        report, path: of a file made from `source`.
        source: its float file of the same kind is made for the comparison.
        pictures: uint8 (N, H, W, C), as the model sees them in use.
    """
    scores = report.parity.reference
    if scores and scores.auc is not None and scores.auc < 0.5:
        return report  # the fault is not the file's, and the verdict says so
    row = FORMATS[report.format]
    layers = worst_layers(path, source, pictures[:PICTURES]) if row.calibrated else ()
    where = f"Most of its error arises in {layers[0].layer} ({layers[0].error:.0%}). " if layers else ""
    return dataclasses.replace(report, layers=layers, advice=where + ADVICE[row.precision, row.suffix])


def worst_layers(path: Path, source: Conversion, pictures: Pixels) -> tuple[LayerError, ...]:
    """The layers of the quantized file `path` where most of its error arises, the worst first.

    That is where the error rises most from one layer to the next; behind it, all layers are wrong. The files
    themselves are run: TensorFlow's own debugger quantizes anew, onnxruntime's loses the channels.
    """
    name, read = READERS[path.suffix]
    row = FORMATS[name]
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / row.file_name(source.spec.name)
        spec = dataclasses.replace(source.spec, precision=row.precision, calibration=None)
        whole.write_bytes(row.convert(dataclasses.replace(source, spec=spec)))
        real, quantized = read(whole, pictures), read(path, pictures)
    errors: dict[str, float] = {}
    for tensor, x in real.items():
        if tensor in quantized and (layer := layer_name(tensor)):
            errors[layer] = max(errors.get(layer, 0.0), _error(x, quantized[tensor]))
    found = [LayerError(layer, error) for layer, error in errors.items()]
    before = {this: last.error for last, this in pairwise(found)}
    return tuple(sorted(found, key=lambda this: before.get(this, 0.0) - this.error)[:WORST])


def _error(x: Array, y: Array) -> float:
    """Root mean square of `y - x` over that of `x`, both (..., channels), as the mean over the channels that are used.

    Channel by channel, because one large channel that stretches the range drowns the others and hides it.
    """
    axes = tuple(range(x.ndim - 1))
    size, error = np.sqrt(np.mean(x**2, axes)), np.sqrt(np.mean((y - x) ** 2, axes))
    used = size > 0
    return float(np.mean(error[used] / size[used])) if used.any() else 0.0


def _tflite(path: Path, pictures: Pixels) -> Activations:
    """The outputs of all operations of a TFLite file, as real values, by tensor name."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with Classifier.load(path) as classifier:
        batch = classifier.encode(pictures)
    interpreter = Interpreter(
        model_path=str(path),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,  # those keep no tensors
    )
    source = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(source, batch.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source, batch)
    interpreter.invoke()
    found = {}
    tensors = {details["index"]: details for details in interpreter.get_tensor_details()}
    for index in (index for operation in interpreter._get_ops_details() for index in operation["outputs"]):
        scale, zero_point = tensors[index]["quantization"]
        if scale or tensors[index]["dtype"] is np.float32:
            x = interpreter.get_tensor(index).astype(np.float32)
            found[tensors[index]["name"]] = (x - zero_point) * np.float32(scale) if scale else x
    return found


def _onnx(path: Path, pictures: Pixels) -> Activations:
    """The outputs of all nodes of an ONNX file that have them as real values, by tensor name, channels last."""
    import onnx
    import onnxruntime

    with Classifier.load(path) as classifier:
        batch = classifier.encode(pictures)
    proto = onnx.shape_inference.infer_shapes(onnx.load(path))
    types = {info.name: info for info in proto.graph.value_info}
    made = [name for node in proto.graph.node for name in node.output if name in types]
    names = [name for name in made if types[name].type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    proto.graph.output.extend(types[name] for name in names)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    values = [np.moveaxis(x, 1, -1) if x.ndim > 1 else x for x in session.run(names, {"image": batch})]
    plain = dict(zip(names, values, strict=True))
    return plain | {name.removesuffix(DEQUANTIZED): x for name, x in plain.items() if name.endswith(DEQUANTIZED)}


READERS: Mapping[str, tuple[str, Callable[[Path, Pixels], Activations]]] = {
    ".tflite": ("tflite-float32", _tflite),
    ".onnx": ("onnx-float32", _onnx),
}
FLOAT = "The converter changed the model; compare the package versions with those of an export that passed."
HALF = "Something leaves float16's range, 6e-5 to 65504; take the float32 file."
DYNAMIC = "Its ranges follow each picture; try the calibrated int8 file, then float16."
MORE = "Try more calibration pictures (--calibration-size, --calibration-check)"
ADVICE: Mapping[tuple[str, str], str] = {
    ("float32", ".tflite"): FLOAT,
    ("float32", ".onnx"): FLOAT,
    ("float16", ".tflite"): HALF,
    ("float16", ".onnx"): HALF,
    ("dynamic", ".tflite"): DYNAMIC,
    ("dynamic", ".onnx"): DYNAMIC,
    ("int8", ".tflite"): f"{MORE}, then --format tflite-int16x8 with its finer activations, then tflite-float16.",
    ("int8", ".onnx"): f"{MORE}, --full-range where all CPUs have VNNI or dot product, then onnx-float16.",
    ("int16x8", ".tflite"): f"{MORE}, then tflite-float16.",
}
