"""The types of arrays that the rooms hand to each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]
"""uint8 (H, W, C), or (N, H, W, C) for a batch; 0 to 255."""
Probabilities = npt.NDArray[np.float32]
"""Of label 1, float32 (N,), 0 to 1."""
Familiarities = npt.NDArray[np.float32]
"""The share of validation images that are less familiar, float32 (N,), 0 to 1."""
Labels = npt.NDArray[np.uint8]
"""uint8 (N,), 0 or 1."""
