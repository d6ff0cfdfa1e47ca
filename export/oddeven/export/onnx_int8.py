"""ONNX with static int8 quantization in QDQ form: int8 weights per channel, uint8 activations, float ends."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oddeven.export.formats import Source
from oddeven.export.onnx import prepare, to_bytes

BATCH = 100


def convert(source: Source) -> bytes:
    """A quarter of the size of float32."""
    import onnx
    from onnxruntime import quantization

    class Pictures(quantization.CalibrationDataReader):  # type: ignore[misc]
        """The calibration pictures in batches, as onnxruntime asks for them."""

        def __init__(self) -> None:
            self._batches = iter(np.split(source.calibration, range(BATCH, len(source.calibration), BATCH)))

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            """The next batch, or None at the end."""
            batch = next(self._batches, None)
            return None if batch is None else {"image": batch}

    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "int8.onnx"
        quantization.quantize_static(
            prepare(source, Path(scratch)),
            target,
            Pictures(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=source.reduce_range,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return to_bytes(onnx.load(target), source.spec)
