"""onnxruntime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from oddeven.runtime.attachment import ONNX_KEY, check_onnx
from oddeven.runtime.engines import Engine, closed, engine_version
from oddeven.runtime.errors import ModelError
from oddeven.runtime.quiet import quiet
from oddeven.runtime.saturation import overflows
from oddeven.runtime.schema import from_json
from oddeven.runtime.spec import ModelSpec
from oddeven.runtime.tensor import Array, TensorInfo, decode

ERRORS_ONLY = 3
# On an x86 CPU without VNNI onnxruntime then turns int8 weights to uint8, whose products it adds in 32 bits.
EXACT = ("session.x64quantprecision", "1")
DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}


class OnnxEngine:
    """One inference session; its inputs and outputs are real values even where the inside is quantized."""

    name = "onnxruntime"

    def __init__(self, session: Any, path: Path) -> None:
        self._session = session
        (source,), (sink,) = session.get_inputs(), session.get_outputs()
        self.input, self.output = _info(source), _info(sink)
        text = session.get_modelmeta().custom_metadata_map.get(ONNX_KEY)
        self.spec = None if text is None else from_json(ModelSpec, text, f"{path}: metadata {ONNX_KEY!r}")

    @property
    def version(self) -> str:
        """Of the package."""
        return engine_version(self.name)

    def invoke(self, batch: Array) -> Array:
        """The output tensor, (N, 1), for `batch`, (N, H, W, C) in the input's dtype."""
        if self._session is None:
            raise closed()
        return cast(Array, self._session.run([self.output.name], {self.input.name: batch})[0])

    def run(self, batch: Array) -> npt.NDArray[np.float32]:
        """Probability of label 1, float32 (N,), for `batch`, (N, H, W, C) in the input's dtype."""
        return decode(self.invoke(batch), self.output)

    def close(self) -> None:
        """Free the session."""
        self._session = None


def open_model(path: Path, threads: int) -> Engine:
    """Open an `.onnx` file.

    Raises:
        ModelError: the file is damaged, or has several inputs or outputs.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    check_onnx(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    if overflows(path):
        options.add_session_config_entry(*EXACT)
    refusals = (failures.Fail, failures.InvalidArgument, failures.InvalidGraph, failures.InvalidProtobuf,
                failures.NoSuchFile, failures.NotImplemented, failures.RuntimeException, ValueError)  # fmt: skip
    try:
        with quiet():  # Debian's of 32 bits complains of its own build
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return OnnxEngine(session, path)
    except refusals as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{path}: onnxruntime {engine_version('onnxruntime')} cannot load it ({reason:.200})."
        ) from error


def _info(node: Any) -> TensorInfo:
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
    return TensorInfo(name=node.name, shape=shape, dtype=DTYPES.get(node.type, node.type))
