"""TFLite's interpreter, which ai-edge-litert and tflite-runtime both provide under the same names."""

from __future__ import annotations

from typing import Any

import numpy as np

from oddeven.runtime.arrays import Array
from oddeven.runtime.engines.contract import Engine, closed, failed, outputs
from oddeven.runtime.engines.metadata import ModelFile
from oddeven.runtime.engines.quantization import TensorInfo
from oddeven.runtime.errors import ModelError
from oddeven.runtime.process import quiet

IDENTIFIER = b"TFL3"  # tflite-runtime does not check it
SURE = ("int8", "float32")  # precisions that every version can load


class TFLiteEngine(Engine):
    """One allocated interpreter. It is resized when the batch size changes, so keep batches of one size."""

    def __init__(self, name: str, package: str, interpreter: Any, model: ModelFile) -> None:
        self.name, self.package, self.spec = name, package, model.spec
        self._path, self._interpreter = model.path, interpreter
        (source,), sinks = interpreter.get_input_details(), interpreter.get_output_details()
        # The signature's names are what the exporter chose; the tensors' own are the converter's.
        names: dict[str, list[str]] = next(iter(interpreter.get_signature_list().values()), {})
        self.input = _info(source, names.get("inputs"))
        self.output, self.familiarity = outputs(
            [_info(sink, names.get("outputs", [])[place:]) for place, sink in enumerate(sinks)]
        )
        self._source, self._sinks = source["index"], [sink["index"] for sink in sinks]
        self._batch_size = int(source["shape"][0])

    def invoke(self, batch: Array) -> tuple[Array, ...]:
        """The output tensors, (N, 1), for `batch`, (N, H, W, C) in the input's dtype."""
        interpreter = self._interpreter
        if interpreter is None:
            raise closed()
        try:
            if len(batch) != self._batch_size:
                interpreter.resize_tensor_input(self._source, batch.shape)
                interpreter.allocate_tensors()
                self._batch_size = len(batch)
            interpreter.set_tensor(self._source, batch)
            interpreter.invoke()
            q_outputs = tuple(map(interpreter.get_tensor, self._sinks))
        except Exception as error:
            raise failed(self._path, self.package, "run", error) from error
        return q_outputs

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter = None


def open_interpreter(name: str, package: str, interpreter_class: Any, model: ModelFile, threads: int) -> TFLiteEngine:
    """Open `model` with either package's `Interpreter`.

    Raises:
        ModelError: the file is damaged, holds an operator the package does not know, or has several inputs or outputs.
    """
    if model.content[4:8] != IDENTIFIER:
        raise ModelError(f"{model.path} is not a TFLite model: bytes 4 to 8 are {model.content[4:8]!r}, not TFL3.")
    try:
        with quiet():
            interpreter = interpreter_class(model_content=model.content, num_threads=threads)
            interpreter.allocate_tensors()
        return TFLiteEngine(name, package, interpreter, model)
    except Exception as error:
        refused = failed(model.path, package, "load", error)
        if model.spec and model.spec.precision not in SURE:
            refused = ModelError(f"{refused} Take the {' or '.join(SURE)} file of this model.")
        raise refused from error


def _info(details: Any, names: list[str] | None) -> TensorInfo:
    """The interpreter's description of a tensor as ours; the signature's shape tells which sizes are free."""
    scale, zero_point = details["quantization"]
    shape = tuple(int(size) for size in details["shape_signature"])
    name = names[0] if names else details["name"]
    return TensorInfo(name, shape, np.dtype(details["dtype"]).name, float(scale), int(zero_point))
