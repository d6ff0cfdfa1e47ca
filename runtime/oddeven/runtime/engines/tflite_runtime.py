"""tflite-runtime, the former name of TFLite's interpreter; the one a 32-bit Raspberry Pi can have."""

from __future__ import annotations

from tflite_runtime.interpreter import Interpreter

from oddeven.runtime.engines.contract import Engine
from oddeven.runtime.engines.metadata import ModelFile
from oddeven.runtime.engines.tflite import open_interpreter


def open_model(model: ModelFile, threads: int) -> Engine:
    """Open a `.tflite` file with tflite-runtime."""
    return open_interpreter("tflite-runtime", "tflite_runtime", Interpreter, model, threads)
