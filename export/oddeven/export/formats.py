"""The export formats, as rows of one table. Adding one is a module with a `convert` function, and a row."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from oddeven.runtime.spec import ModelSpec


@dataclass(frozen=True)
class Source:
    """What every converter is given; each takes of it what its format needs.

    Attributes:
        model: a Keras model, float32 (N, H, W, C) to the probability of label 1, float32 (N, 1).
        spec: goes into the file.
        calibration: real-valued training pictures, float32 (N, H, W, C), to set quantized ranges with.
        float_io: keep float32 at both ends of a full integer file.
        full_range: give int8 ONNX weights all 8 bits, which x86 CPUs without VNNI cannot add.
    """

    model: Any
    spec: ModelSpec
    calibration: npt.NDArray[np.float32]
    float_io: bool = False
    full_range: bool = False


Convert = Callable[[Source], bytes]


@dataclass(frozen=True)
class Format:
    """A row.

    Attributes:
        module: holds `convert`, a `Convert` that gives the bytes of a model file with its spec inside.
        suffix, precision: of the file's name.
        calibrated: whether it looks at the calibration pictures.
        default: whether it is made when no format is asked for.
    """

    module: str
    suffix: str
    precision: str
    calibrated: bool = False
    default: bool = True

    def file_name(self, model: str) -> str:
        """`<model>.<precision><suffix>`."""
        return f"{model}.{self.precision}{self.suffix}"

    def converter(self) -> Convert:
        """The row's function, its library imported now."""
        return cast(Convert, importlib.import_module(self.module).convert)


# int16x8 is made on request only: TFLite runs it on reference kernels, 20 to 90 times slower than int8.
FORMATS: Mapping[str, Format] = {
    "tflite-float32": Format("oddeven.export.tflite_float32", ".tflite", "float32"),
    "tflite-float16": Format("oddeven.export.tflite_float16", ".tflite", "float16"),
    "tflite-dynamic": Format("oddeven.export.tflite_dynamic", ".tflite", "dynamic"),
    "tflite-int8": Format("oddeven.export.tflite_int8", ".tflite", "int8", calibrated=True),
    "tflite-int16x8": Format("oddeven.export.tflite_int16x8", ".tflite", "int16x8", calibrated=True, default=False),
    "onnx-float32": Format("oddeven.export.onnx_float32", ".onnx", "float32"),
    "onnx-float16": Format("oddeven.export.onnx_float16", ".onnx", "float16"),
    "onnx-dynamic": Format("oddeven.export.onnx_dynamic", ".onnx", "dynamic"),
    "onnx-int8": Format("oddeven.export.onnx_int8", ".onnx", "int8", calibrated=True),
}
DEFAULTS = tuple(name for name, row in FORMATS.items() if row.default)
