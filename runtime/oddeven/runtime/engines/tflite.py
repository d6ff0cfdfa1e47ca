"""TFLite's interpreter, which ai-edge-litert and tflite-runtime both provide under the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.attachment import read_spec
from oddeven.runtime.engines import closed, engine_version
from oddeven.runtime.errors import ModelError
from oddeven.runtime.quiet import quiet
from oddeven.runtime.spec import ModelSpec
from oddeven.runtime.tensor import Array, TensorInfo, decode

SURE = ("int8", "float32")  # precisions that every version can load
CLOSED = -1  # no batch has that size, so a closed engine costs an open one nothing


class TFLiteEngine:
    """One allocated interpreter; it is resized when the batch size changes, so keep batches of one size."""

    def __init__(self, name: str, interpreter: Any, spec: ModelSpec | None) -> None:
        self.name, self.spec = name, spec
        self._interpreter = interpreter
        (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
        # The signature's names are what the exporter chose; the tensors' own are the converter's.
        names: dict[str, list[str]] = next(iter(interpreter.get_signature_list().values()), {})
        self.input, self.output = _info(source, names.get("inputs")), _info(sink, names.get("outputs"))
        self._source, self._sink = source["index"], sink["index"]
        self._batch_size = int(source["shape"][0])

    @property
    def version(self) -> str:
        """Of the package."""
        return engine_version(self.name)

    def invoke(self, batch: Array) -> Array:
        """The output tensor, (N, 1), for `batch`, (N, H, W, C) in the input's dtype."""
        interpreter = self._interpreter
        if len(batch) != self._batch_size:
            if interpreter is None:
                raise closed()
            interpreter.resize_tensor_input(self._source, batch.shape)
            interpreter.allocate_tensors()
            self._batch_size = len(batch)
        interpreter.set_tensor(self._source, batch)
        interpreter.invoke()
        q_answers: Array = interpreter.get_tensor(self._sink)
        return q_answers

    def run(self, batch: Array) -> npt.NDArray[np.float32]:
        """Probability of label 1, float32 (N,), for `batch`, (N, H, W, C) in the input's dtype."""
        return decode(self.invoke(batch), self.output)

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter, self._batch_size = None, CLOSED


def open_interpreter(name: str, interpreter_class: Any, path: Path, threads: int) -> TFLiteEngine:
    """Open `path` with either package's `Interpreter`.

    Raises:
        ModelError: the file is damaged, holds an operator the package does not know, or has several inputs or outputs.
    """
    spec = read_spec(path)
    try:
        with quiet():
            interpreter = interpreter_class(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
        return TFLiteEngine(name, interpreter, spec)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        advice = f" Take the {' or '.join(SURE)} file of this model." if spec and spec.precision not in SURE else ""
        raise ModelError(f"{path}: {name} {engine_version(name)} cannot load it ({reason:.200}).{advice}") from error


def _info(details: Any, names: list[str] | None) -> TensorInfo:
    """LiteRT's description of a tensor as ours; the signature's shape tells which sizes are free."""
    scale, zero_point = details["quantization"]
    return TensorInfo(
        name=names[0] if names else details["name"],
        shape=tuple(int(size) for size in details["shape_signature"]),
        dtype=np.dtype(details["dtype"]).name,
        scale=float(scale),
        zero_point=int(zero_point),
    )
