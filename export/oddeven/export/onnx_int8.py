"""ONNX with static int8 quantization in QDQ form: int8 weights per channel, uint8 activations."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.export.onnx import graph, to_bytes
from oddeven.runtime.quiet import quiet
from oddeven.runtime.spec import ModelSpec

BATCH = 100


def convert(model: Any, spec: ModelSpec, calibration: npt.NDArray[np.float32]) -> bytes:
    """As `oddeven.export.formats.Convert`."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Pictures(quantization.CalibrationDataReader):  # type: ignore[misc]
        """The calibration pictures in batches, as onnxruntime asks for them."""

        def __init__(self) -> None:
            self._batches = iter(np.split(calibration, range(BATCH, len(calibration), BATCH)))

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            """The next batch, or None at the end."""
            batch = next(self._batches, None)
            return None if batch is None else {"image": batch}

    with tempfile.TemporaryDirectory() as scratch, quiet():
        source, prepared, target = (Path(scratch) / f"{step}.onnx" for step in ("float", "prepared", "int8"))
        onnx.save(graph(model), source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            target,
            Pictures(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return to_bytes(onnx.load(target), spec)
