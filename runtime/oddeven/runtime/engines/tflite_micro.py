"""tflite-micro on this machine: what TensorFlow Lite for Microcontrollers computes, one image at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from tflite_micro.python.tflite_micro import runtime

from oddeven.runtime.arrays import Array
from oddeven.runtime.engines.contract import Engine, PackageEngine
from oddeven.runtime.engines.metadata import ModelFile
from oddeven.runtime.engines.quantization import TensorInfo


class MicroEngine(PackageEngine):
    """One allocated interpreter, of a batch of one."""

    def __init__(self, interpreter: Any, model: ModelFile) -> None:
        super().__init__(interpreter, model)
        self.input = _info("image", interpreter.get_input_details(0))
        self.output = _info("probability", interpreter.get_output_details(0))
        if model.spec and model.spec.familiarity:
            self.familiarity = _info("raw_familiarity", interpreter.get_output_details(1))

    def _compute(self, interpreter: Any, batch: Array) -> tuple[Array, ...]:
        q_outputs = []
        for image in batch:
            interpreter.set_input(image[np.newaxis], 0)
            interpreter.invoke()
            q_outputs.append([interpreter.get_output(place) for place in range(1 + (self.familiarity is not None))])
        return tuple(map(np.concatenate, zip(*q_outputs, strict=True)))


def open_model(model: ModelFile, threads: int) -> Engine:
    """Open a `.tflite` file, which must be full int8, with tflite-micro."""
    return MicroEngine(runtime.Interpreter.from_bytes(model.content), model)


def _info(name: str, details: Any) -> TensorInfo:
    """tflite-micro's description of a tensor as ours; any number of images may come, one after the other."""
    known = details["quantization_parameters"]
    scale, zero_point = (float(known["scales"][0]), int(known["zero_points"][0])) if len(known["scales"]) else (0.0, 0)
    return TensorInfo(name, (-1, *map(int, details["shape"][1:])), np.dtype(details["dtype"]).name, scale, zero_point)
