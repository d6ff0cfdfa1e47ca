"""Which C kernel computes an operator, and with which constants: one function for each kind, in one table.

Formulas: TFLite's 8-bit quantization specification, and the rounding of its reference kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from oddeven.export.c.graph import LOOKUP, UNARY, Operator
from oddeven.runtime.arrays import Array

SAME = 0  # of the schema's Padding
ADD_SHIFT = 20  # both summands of an ADD are taken times 2^20
# The least and greatest real value that an activation leaves, by the schema's number.
ACTIVATIONS = {0: (-1e6, 1e6), 1: (0, 1e6), 2: (-1, 1), 3: (0, 6)}


@dataclass(frozen=True)
class Kernel:
    """A call `oddeven_<function>(&structure, inputs..., output)`.

    Arrays among the structure's `fields` become constants of their own, tuples stand in it.
    """

    function: str
    structure: str
    fields: tuple[Any, ...]


def kernel(operator: Operator) -> Kernel:
    """The call for an operator.

    Raises:
        ModelError: no kernel computes it.
    """
    if operator.kind not in KERNELS:
        known = ", ".join(sorted({*KERNELS, *UNARY} - {LOOKUP}))
        raise operator.refusal(f"is not among the operators that C is made of ({known})")
    for tensor in (*operator.inputs, operator.output):
        if operator.kind != LOOKUP and tensor.data is None and tensor.dtype != "int8":
            raise operator.refusal(f"computes in {tensor.dtype}, not in int8")
    return KERNELS[operator.kind](operator)


def lookup(operator: Operator) -> Kernel:
    """A function of one tensor, value by value."""
    return Kernel("lookup", "table", (prod(operator.output.shape), operator.options))


def convolution(operator: Operator) -> Kernel:
    """CONV_2D: the weights are (out_channels, height, width, channels)."""
    weights = operator.inputs[1].data
    if weights.shape[3] != operator.inputs[0].shape[-1]:
        raise operator.refusal("is split into groups of channels")
    return _sum(operator, weights, _window(operator, *weights.shape[1:3]))


def depthwise(operator: Operator) -> Kernel:
    """DEPTHWISE_CONV_2D: the weights are (1, height, width, out_channels)."""
    weights = operator.inputs[1].data.transpose(3, 1, 2, 0)
    return _sum(operator, weights, _window(operator, *weights.shape[1:3]))


def fully_connected(operator: Operator) -> Kernel:
    """FULLY_CONNECTED, as a convolution of one pixel: the weights are (outputs, inputs)."""
    weights = operator.inputs[1].data
    outputs, inputs = weights.shape
    if (prod(operator.inputs[0].shape), prod(operator.output.shape)) != (inputs, outputs):
        raise operator.refusal(f"takes shape {operator.inputs[0].shape} in rows of {inputs}")
    return _sum(operator, weights[:, None, None], (1, 1, inputs, 1, 1, outputs, 1, 1, 1, 1, 0, 0))


def mean(operator: Operator) -> Kernel:
    """MEAN over height and width, as a depthwise convolution whose weights are 1.

    1 / n goes into the multiplier, cut off and by a limited shift, as TFLite does it.
    """
    x, window = operator.inputs[0], _whole_image(operator)
    height, width, channels = x.shape
    multiplier, shift = fixed_point(float(x.scale[0]) / np.full(channels, operator.output.scale[0], np.float64))
    more = min((height * width).bit_length() - 1, 32, 31 + int(shift[0]))
    scaled = (multiplier.astype(np.int64) << more) // (height * width), shift - more
    return _sum(operator, np.ones((channels, height, width, 1), np.int8), window, scaled)


def max_pool(operator: Operator) -> Kernel:
    """MAX_POOL_2D, a window without weights."""
    return _greatest(operator, _window(operator, operator.options.filterHeight, operator.options.filterWidth))


def reduce_max(operator: Operator) -> Kernel:
    """REDUCE_MAX over height and width."""
    return _greatest(operator, _whole_image(operator))


def add(operator: Operator) -> Kernel:
    """ADD of two tensors of one shape, both brought to twice the larger scale."""
    a, b = operator.inputs
    if a.shape != b.shape or not (a.data is b.data is None):
        raise operator.refusal(f"adds shapes {a.shape} and {b.shape}; expected two computed tensors of one shape")
    one, other, sink = (float(tensor.scale[0]) for tensor in (a, b, operator.output))
    twice = 2 * max(one, other)
    factors = np.array([one / twice, other / twice, twice / (2**ADD_SHIFT * sink)])
    scaled = (tuple(values.tolist()) for values in fixed_point(factors))
    return Kernel("add", "addition", (prod(a.shape), (a.zero_point, b.zero_point), *_range(operator), *scaled))


KERNELS: Mapping[str, Callable[[Operator], Kernel]] = {
    LOOKUP: lookup,
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": depthwise,
    "FULLY_CONNECTED": fully_connected,
    "MEAN": mean,
    "MAX_POOL_2D": max_pool,
    "REDUCE_MAX": reduce_max,
    "ADD": add,
}


def fixed_point(factors: Array) -> tuple[Array, Array]:
    """(multiplier, shift) with factor = multiplier * 2^(shift - 31) and multipliers of 31 bits; factors are float64."""
    fraction, shift = np.frexp(factors)
    multiplier = np.floor(fraction * 2**31 + 0.5).astype(np.int64)
    full, none = multiplier == 2**31, shift < -31
    return np.where(none, 0, multiplier >> full), np.where(none, 0, shift + full)


def _sum(operator: Operator, weights: Array, window: tuple[int, ...], scaled: tuple[Array, ...] = ()) -> Kernel:
    """Sums over a window, and what brings them to the output's scale, unless `scaled` does.

    Args:
        weights: (out_channels, height, width, group).
    """
    x, out, zero_point = operator.inputs[0], operator.output, operator.inputs[0].zero_point
    bias = operator.inputs[2].data if len(operator.inputs) > 2 else np.zeros(len(weights), np.int32)
    if not scaled:
        scale = operator.inputs[1].scale
        # TFLite multiplies the scales of a dense layer as float32 where it has one for all channels, others as float64.
        exact = "float32" if operator.kind == "FULLY_CONNECTED" and len(scale) == 1 else "float64"
        products = scale.astype(exact) * x.scale.astype(exact)
        scaled = fixed_point(np.broadcast_to(products / out.scale.astype(np.float64), len(weights)))
    if getattr(operator.options, "padding", None) != SAME:  # else what lies outside counts as the zero point
        bias, zero_point = bias - zero_point * weights.sum((1, 2, 3), np.int32), 0
    constants = weights, bias.astype(np.int32), scaled[0].astype(np.int32), scaled[1].astype(np.int8)
    return Kernel("slide", "window", (*window, zero_point, *_range(operator), weights.shape[3], *constants))


def _greatest(operator: Operator, window: tuple[int, ...]) -> Kernel:
    """The greatest value in a window, which has no weights."""
    return Kernel("slide", "window", (*window, 0, *_range(operator), 0, 0, 0, 0, 0))


def _whole_image(operator: Operator) -> tuple[int, ...]:
    """The first fields of `struct oddeven_window` for one window over all of the image, by channel."""
    x, axes = operator.inputs
    if len(x.shape) != 3 or sorted(axes.data.ravel().tolist()) != [1, 2]:
        raise operator.refusal("reduces other axes than height and width")
    height, width, channels = x.shape
    return (*x.shape, 1, 1, channels, height, width, 1, 1, 0, 0)


def _window(operator: Operator, height: int, width: int) -> tuple[int, ...]:
    """The first fields of `struct oddeven_window` for a window of that size."""
    x, out, options = operator.inputs[0], operator.output, operator.options
    if (getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1)) != (1, 1):
        raise operator.refusal("is dilated")
    strides = options.strideH, options.strideW
    reach = [(out.shape[axis] - 1) * strides[axis] + size for axis, size in enumerate((height, width))]
    padding = [max(0, reach[axis] - x.shape[axis]) // 2 if options.padding == SAME else 0 for axis in (0, 1)]
    return (*x.shape, *out.shape, height, width, *strides, *padding)


def _range(operator: Operator) -> tuple[int, ...]:
    """The output's zero point, and the least and greatest output that the activation leaves."""
    out, activation = operator.output, getattr(operator.options, "fusedActivationFunction", 0)
    if activation not in ACTIVATIONS:
        raise operator.refusal("ends in an activation that no kernel has")
    ends = out.zero_point + np.floor(np.array(ACTIVATIONS[activation], np.float32) / out.scale + 0.5)
    return out.zero_point, *np.clip(ends, -128, 127).astype(int).tolist()
