"""Between pixels, real values and what a model's tensors hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Array, Pixels
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.spec import InputSpec

HALF, ROUNDING = np.float32(0.5), np.float32(1e-5)


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a model file.

    Attributes:
        shape: -1 where any size goes.
        dtype: NumPy's name.
        scale, zero_point: real = scale * (q - zero_point); scale is 0 for a tensor of real values.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0


def pixel_input(name: str, shape: tuple[int, ...], spec: InputSpec) -> TensorInfo:
    """A uint8 tensor that takes pixels as they are."""
    scale = (spec.high - spec.low) / 255.0
    return TensorInfo(name, shape, "uint8", scale, round(-spec.low / scale))


def encoder(info: TensorInfo, spec: InputSpec) -> Callable[[Pixels], Array]:
    """The function from pixels, uint8 (N, H, W, C), to the input tensor's own dtype, of the same shape.

    Where the quantized input is the pixel itself (uint8, and 0 and 255 stand for `spec.low` and `spec.high`),
    that is the identity: nothing is copied or converted.
    """
    if info.dtype == "float32":
        return partial(to_float, spec=spec)
    scale = info.scale or 1.0  # an integer without a scale stands for itself
    gain, shift = (spec.high - spec.low) / 255.0 / scale, spec.low / scale + info.zero_point
    # Half a quantization step over all 256 pixel values is the most that rounding could hide.
    if info.dtype == "uint8" and abs(shift) < 0.5 and abs(gain - 1.0) * 255.0 + abs(shift) < 0.5:
        return lambda pixels: pixels
    limits = np.iinfo(info.dtype)
    table = np.clip(np.round(np.arange(256) * gain + shift), limits.min, limits.max).astype(info.dtype)
    return lambda pixels: table[pixels]


def decode(q_output: Array, info: TensorInfo) -> npt.NDArray[np.float32]:
    """Probabilities, float32 (N,), from an output tensor of shape (N, 1) or (N,), real or quantized."""
    real = dequantize(q_output, info)
    if info.scale == 0.0:
        # On 32-bit ARM a sigmoid's rounding may end a little below 0 or over 1; what is further off is no probability.
        return np.clip(real, 0.0, 1.0, out=real, where=np.abs(real - HALF) < HALF + ROUNDING)
    return real


def dequantize(q_output: Array, info: TensorInfo) -> npt.NDArray[np.float32]:
    """Real values, float32 (N,), of an output tensor of shape (N, 1) or (N,), real or quantized."""
    real = q_output.reshape(-1).astype(np.float32)
    return real if info.scale == 0.0 else (real - np.float32(info.zero_point)) * np.float32(info.scale)


def range_gap(output: TensorInfo) -> float:
    """How far a quantized output's probabilities stay from 0 or 1, at the end where they stop first; 0 for others.

    With 256 steps of 1/256 from 0 they end at 255/256. Both labels get the same limit, so the lowest level counts as
    1/256: 0 would claim more than an output without a 1 can. An output with a larger gap than that is left alone.
    """
    if output.scale == 0.0:
        return 0.0
    limits = np.iinfo(output.dtype)
    low, high = decode(np.array([limits.min, limits.max], output.dtype), output).tolist()
    gap = max(low, 1.0 - high, 0.0)
    return gap if gap < 1.5 * output.scale else 0.0
