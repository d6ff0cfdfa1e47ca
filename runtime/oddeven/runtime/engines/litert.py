"""ai-edge-litert, the present name of TFLite's interpreter."""

from __future__ import annotations

from ai_edge_litert.interpreter import Interpreter

from oddeven.runtime.engines.contract import Engine
from oddeven.runtime.engines.metadata import ModelFile
from oddeven.runtime.engines.tflite import open_interpreter


def open_model(model: ModelFile, threads: int) -> Engine:
    """Open a `.tflite` file with LiteRT."""
    return open_interpreter("litert", "ai_edge_litert", Interpreter, model, threads)
