"""TFLite's interpreter, which ai-edge-litert and tflite-runtime both provide under the same names."""

from __future__ import annotations

from typing import Any

import numpy as np

from oddeven.runtime.arrays import Array
from oddeven.runtime.engines.contract import PackageEngine, outputs
from oddeven.runtime.engines.metadata import ModelFile
from oddeven.runtime.engines.quantization import TensorInfo
from oddeven.runtime.errors import ModelError

IDENTIFIER = b"TFL3"  # tflite-runtime does not check it


class TFLiteEngine(PackageEngine):
    """One allocated interpreter. It is resized when the batch size changes, so keep batches of one size."""

    def __init__(self, interpreter: Any, model: ModelFile) -> None:
        super().__init__(interpreter, model)
        (source,), sinks = interpreter.get_input_details(), interpreter.get_output_details()
        # The signature's names are what the exporter chose; the tensors' own are the converter's.
        names: dict[str, list[str]] = next(iter(interpreter.get_signature_list().values()), {})
        self.input = _info(source, names.get("inputs"))
        self.output, self.familiarity = outputs(
            [_info(sink, names.get("outputs", [])[place:]) for place, sink in enumerate(sinks)]
        )
        self._source, self._sinks = source["index"], [sink["index"] for sink in sinks]
        self._batch_size = int(source["shape"][0])

    def _compute(self, interpreter: Any, batch: Array) -> tuple[Array, ...]:
        if len(batch) != self._batch_size:
            interpreter.resize_tensor_input(self._source, batch.shape)
            interpreter.allocate_tensors()
            self._batch_size = len(batch)
        interpreter.set_tensor(self._source, batch)
        interpreter.invoke()
        return tuple(map(interpreter.get_tensor, self._sinks))


def open_interpreter(interpreter_class: Any, model: ModelFile, threads: int) -> TFLiteEngine:
    """Open `model` with either package's `Interpreter`.

    Raises:
        ModelError: the file is no TFLite model.
    """
    if model.content[4:8] != IDENTIFIER:
        raise ModelError(f"{model.path} is not a TFLite model: bytes 4 to 8 are {model.content[4:8]!r}, not TFL3.")
    interpreter = interpreter_class(model_content=model.content, num_threads=threads)
    interpreter.allocate_tensors()
    return TFLiteEngine(interpreter, model)


def _info(details: Any, names: list[str] | None) -> TensorInfo:
    """The interpreter's description of a tensor as ours; the signature's shape tells which sizes are free."""
    dtype = np.dtype(details["dtype"]).name
    # Converters may leave a scale at a tensor of real values, which the interpreter ignores.
    scale, zero_point = (0.0, 0) if dtype == "float32" else details["quantization"]
    shape = tuple(int(size) for size in details["shape_signature"])
    name = names[0] if names else details["name"]
    return TensorInfo(name, shape, dtype, float(scale), int(zero_point))
