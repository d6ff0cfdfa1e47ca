"""The export formats, as rows of one table. Adding one is a function in the file of its family, and a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from oddeven.export import onnx, tflite
from oddeven.export.conversion import Conversion

Convert = Callable[[Conversion], bytes]


@dataclass(frozen=True)
class Format:
    """A row.

    Attributes:
        convert: from a model to the bytes of a file with its spec inside.
        suffix, precision: of the file's name.
        calibrated: whether it looks at the calibration pictures.
        default: whether it is made when no format is asked for.
    """

    convert: Convert
    suffix: str
    precision: str
    calibrated: bool = False
    default: bool = True

    def file_name(self, model: str) -> str:
        """`<model>.<precision><suffix>`."""
        return f"{model}.{self.precision}{self.suffix}"


# int16x8 is made on request only: TFLite runs it on reference kernels, 20 to 90 times slower than int8.
FORMATS: Mapping[str, Format] = {
    "tflite-float32": Format(tflite.float32, ".tflite", "float32"),
    "tflite-float16": Format(tflite.float16, ".tflite", "float16"),
    "tflite-dynamic": Format(tflite.dynamic, ".tflite", "dynamic"),
    "tflite-int8": Format(tflite.int8, ".tflite", "int8", calibrated=True),
    "tflite-int16x8": Format(tflite.int16x8, ".tflite", "int16x8", calibrated=True, default=False),
    "onnx-float32": Format(onnx.float32, ".onnx", "float32"),
    "onnx-float16": Format(onnx.float16, ".onnx", "float16"),
    "onnx-dynamic": Format(onnx.dynamic, ".onnx", "dynamic"),
    "onnx-int8": Format(onnx.int8, ".onnx", "int8", calibrated=True),
}
DEFAULTS = tuple(name for name, row in FORMATS.items() if row.default)
