"""The sum that the last sigmoid is taken of, in eight bits: as fine as the probability, and rounded at the threshold.

The converter spreads 256 levels over all sums it saw, -30 to 40 for the mlp: near one half, where labels are decided,
neighbouring levels are 0.07 apart in probability. Beyond `LIMIT` the probability rounds to 0 or 1 whatever the sum is.
"""

from __future__ import annotations

import math
from typing import Any

from oddeven.export.flatbuffer import add_to_bias, set_quantization

LEVELS = 256
LIMIT = math.log(2 * LEVELS - 1)  # the sigmoid of -LIMIT is half a level of the output, 1/512
WIDEST = 2 * LIMIT / (LEVELS - 1)  # step of the sum


def refine(parsed: Any, threshold: float, shift: float = 0.0) -> bool:
    """Make `LIMIT` the range of the sum in a `ModelT` that is wider or moved, and move its bias by up to half a level.

    Rounding then parts the sums at the `threshold` of the probability, where float arithmetic parts them. A model that
    does not end in a dense layer and a sigmoid of eight bits is left as it is. Two scores may be made of the sigmoid.

    Args:
        shift: what is added to the sum besides; the threshold is that of the shifted model.

    Returns:
        Whether the model ends so and, if there is a `shift`, has a bias that takes it.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    graph = parsed.subgraphs[0]
    makers = {output: operator for operator in graph.operators for output in operator.outputs}
    kinds = schema.BuiltinOperator

    def kind(operator: Any) -> int | None:
        return parsed.operatorCodes[operator.opcodeIndex].builtinCode if operator else None

    last: Any = makers.get(graph.outputs[0])
    if kind(last) in (kinds.QUANTIZE, kinds.DEQUANTIZE):
        last = makers.get(last.inputs[0])
    if kind(last) == kinds.FULLY_CONNECTED and kind(makers.get(last.inputs[0])) == kinds.LOGISTIC:
        last = makers[last.inputs[0]]
    dense: Any = makers.get(last.inputs[0]) if kind(last) == kinds.LOGISTIC else None
    if kind(dense) != kinds.FULLY_CONNECTED or graph.tensors[dense.outputs[0]].type != schema.TensorType.INT8:
        return False
    total = graph.tensors[dense.outputs[0]]
    step = total.quantization.scale[0]
    if step > WIDEST or shift:  # a range that was calibrated would cut what is moved out of it
        step = WIDEST
        set_quantization(total, step, 0)
    if len(dense.inputs) < 3 or dense.inputs[2] < 0:
        return not shift
    add_to_bias(parsed, dense, _to_half_level(threshold, step) + shift)
    return True


def _to_half_level(threshold: float, step: float) -> float:
    """What must be added to sums that are then rounded to multiples of `step`, for them to part at the threshold.

    The sum at the threshold is moved halfway between the last level that is predicted as label 0 and the next.
    """
    q_above = min(math.floor(threshold * LEVELS) + 1, LEVELS - 1)
    first = math.ceil(_logit((q_above - 0.5) / LEVELS) / step)  # the least sum whose probability rounds to `q_above`
    return (first - 0.5) * step - _logit(threshold)


def _logit(p: float) -> float:
    return math.log(p / (1 - p))
