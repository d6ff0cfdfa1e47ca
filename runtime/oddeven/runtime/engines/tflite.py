"""TFLite's interpreter, which ai-edge-litert and tflite-runtime both provide under the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.attachment import read_spec
from oddeven.runtime.errors import ModelError
from oddeven.runtime.quiet import quiet
from oddeven.runtime.tensor import Array, TensorInfo, decode


class TFLiteEngine:
    """One allocated interpreter; it is resized when the batch size changes, so keep batches of one size."""

    def __init__(self, name: str, version: str, interpreter: Any, path: Path) -> None:
        self.name, self.version = name, version
        self.spec = read_spec(path)
        self._interpreter = interpreter
        (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
        self.input, self.output = _info(source), _info(sink)
        self._source, self._sink = source["index"], sink["index"]
        self._batch_size = int(source["shape"][0])

    def run(self, batch: Array) -> npt.NDArray[np.float32]:
        """Probability of label 1, float32 (N,), for `batch`, (N, H, W, C) in the input's dtype."""
        interpreter = self._interpreter
        if len(batch) != self._batch_size:
            interpreter.resize_tensor_input(self._source, batch.shape)
            interpreter.allocate_tensors()
            self._batch_size = len(batch)
        interpreter.set_tensor(self._source, batch)
        interpreter.invoke()
        return decode(interpreter.get_tensor(self._sink), self.output)

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter = None


def open_interpreter(name: str, version: str, interpreter_class: Any, path: Path, threads: int) -> TFLiteEngine:
    """Open `path` with either package's `Interpreter`.

    Raises:
        ModelError: the file is damaged, holds an operator the package does not know, or has several inputs or outputs.
    """
    try:
        with quiet():
            interpreter = interpreter_class(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
        return TFLiteEngine(name, version, interpreter, path)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: {name} {version} cannot load it ({reason:.200}).") from error


def _info(details: Any) -> TensorInfo:
    """LiteRT's description of a tensor as ours; the signature's shape tells which sizes are free."""
    scale, zero_point = details["quantization"]
    return TensorInfo(
        name=_plain_name(details["name"]),
        shape=tuple(int(size) for size in details["shape_signature"]),
        dtype=np.dtype(details["dtype"]).name,
        scale=float(scale),
        zero_point=int(zero_point),
    )


def _plain_name(name: str) -> str:
    """`serving_default_image:0` is the signature's input `image`."""
    return name.removeprefix("serving_default_").split(":")[0]
