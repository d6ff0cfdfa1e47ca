"""What every converter is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.spec import ModelSpec


@dataclass(frozen=True)
class Conversion:
    """A model to convert; each format takes of it what it needs.

    Attributes:
        model: a Keras model, float32 (N, H, W, C) to the probability of label 1, float32 (N, 1).
        spec: goes into the file.
        calibration: real-valued training pictures, float32 (N, H, W, C), to set quantized ranges with.
        float_io: keep float32 at both ends of a full integer file.
        full_range: give int8 ONNX weights all 8 bits, which x86 CPUs without VNNI cannot add.
    """

    model: Any
    spec: ModelSpec
    calibration: npt.NDArray[np.float32]
    float_io: bool = False
    full_range: bool = False
