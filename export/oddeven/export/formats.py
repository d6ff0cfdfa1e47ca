"""The export formats, as rows of one table. Adding one is a module with a `convert` function, and a row."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from oddeven.runtime.spec import ModelSpec


class Convert(Protocol):
    """A converter: the Keras model as the bytes of a model file that carries `spec`."""

    def __call__(self, model: Any, spec: ModelSpec, calibration: npt.NDArray[np.float32]) -> bytes:
        """Convert.

        Args:
            model: a Keras model, float32 (N, H, W, C) to the probability of label 1, float32 (N, 1).
            spec: goes into the file.
            calibration: real-valued training pictures, float32 (N, H, W, C), to set quantized ranges with.
        """
        ...


@dataclass(frozen=True)
class Format:
    """A row: the module that holds `convert`, the file suffix, the precision, whether it is calibrated."""

    module: str
    suffix: str
    precision: str
    calibrated: bool = False

    def file_name(self, model: str) -> str:
        """`<model>.<precision><suffix>`."""
        return f"{model}.{self.precision}{self.suffix}"

    def converter(self) -> Convert:
        """The row's function, its library imported now."""
        return cast(Convert, importlib.import_module(self.module).convert)


FORMATS: Mapping[str, Format] = {
    "tflite-float32": Format("oddeven.export.tflite_float32", ".tflite", "float32"),
    "tflite-int8": Format("oddeven.export.tflite_int8", ".tflite", "int8", calibrated=True),
    "onnx-float32": Format("oddeven.export.onnx_float32", ".onnx", "float32"),
    "onnx-int8": Format("oddeven.export.onnx_int8", ".onnx", "int8", calibrated=True),
}
