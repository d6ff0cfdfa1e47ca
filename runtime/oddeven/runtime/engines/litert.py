"""ai-edge-litert, the present name of TFLite's interpreter."""

from __future__ import annotations

from functools import partial

from ai_edge_litert.interpreter import Interpreter

from oddeven.runtime.engines.tflite import open_interpreter

open_model = partial(open_interpreter, Interpreter)
