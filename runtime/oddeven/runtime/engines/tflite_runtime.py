"""tflite-runtime, the former name of TFLite's interpreter; the one a 32-bit Raspberry Pi can have."""

from __future__ import annotations

from functools import partial

from tflite_runtime.interpreter import Interpreter

from oddeven.runtime.engines.tflite import open_interpreter

open_model = partial(open_interpreter, Interpreter)
