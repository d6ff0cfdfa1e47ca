"""TFLite with float32 weights and arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.export.tflite import converter, to_bytes
from oddeven.runtime.spec import ModelSpec


def convert(model: Any, spec: ModelSpec, calibration: npt.NDArray[np.float32]) -> bytes:
    """As `oddeven.export.formats.Convert`; the calibration pictures are not used."""
    return to_bytes(converter(model), spec)
