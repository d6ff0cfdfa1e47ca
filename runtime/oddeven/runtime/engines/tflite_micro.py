"""tflite-micro on this machine: what TensorFlow Lite for Microcontrollers computes, one image at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from tflite_micro.python.tflite_micro import runtime

from oddeven.runtime.arrays import Array
from oddeven.runtime.engines.contract import Engine, closed, failed
from oddeven.runtime.engines.metadata import ModelFile
from oddeven.runtime.engines.quantization import TensorInfo
from oddeven.runtime.process import quiet


class MicroEngine(Engine):
    """One allocated interpreter, of a batch of one."""

    name, package = "tflite-micro", "tflite_micro"

    def __init__(self, interpreter: Any, model: ModelFile) -> None:
        self._interpreter, self._path, self.spec = interpreter, model.path, model.spec
        self.input = _info("image", interpreter.get_input_details(0))
        self.output = _info("probability", interpreter.get_output_details(0))
        if model.spec and model.spec.familiarity:
            self.familiarity = _info("raw_familiarity", interpreter.get_output_details(1))

    def invoke(self, batch: Array) -> tuple[Array, ...]:
        """The output tensors, (N, 1), for `batch`, (N, H, W, C) in the input's dtype."""
        if self._interpreter is None:
            raise closed()
        try:
            return tuple(map(np.concatenate, zip(*(self._one(image) for image in batch), strict=True)))
        except Exception as error:
            raise failed(self._path, self.package, "run", error) from error

    def _one(self, image: Array) -> list[Array]:
        self._interpreter.set_input(image[np.newaxis], 0)
        self._interpreter.invoke()
        return [self._interpreter.get_output(place) for place in range(1 + (self.familiarity is not None))]

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter = None


def open_model(model: ModelFile, threads: int) -> Engine:
    """Open a `.tflite` file with tflite-micro.

    Raises:
        ModelError: it cannot load the file; most likely the file is not full int8.
    """
    try:
        with quiet():
            return MicroEngine(runtime.Interpreter.from_bytes(model.content), model)
    except Exception as error:
        raise failed(model.path, MicroEngine.package, "load", error) from error


def _info(name: str, details: Any) -> TensorInfo:
    """tflite-micro's description of a tensor as ours; any number of images may come, one after the other."""
    known = details["quantization_parameters"]
    scale, zero_point = (float(known["scales"][0]), int(known["zero_points"][0])) if len(known["scales"]) else (0.0, 0)
    return TensorInfo(name, (-1, *map(int, details["shape"][1:])), np.dtype(details["dtype"]).name, scale, zero_point)
