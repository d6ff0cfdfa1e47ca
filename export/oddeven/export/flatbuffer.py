"""Changes to a TFLite file: fewer bytes than its converter leaves, since nothing is written twice, and other biases."""

from __future__ import annotations

import copy
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt

IDENTIFIER = b"TFL3"


def parse(model: bytes) -> Any:
    """The `ModelT` of a flatbuffer."""
    from tensorflow.lite.tools import flatbuffer_utils

    return flatbuffer_utils.convert_bytearray_to_object(bytearray(model))


def pack(parsed: Any) -> bytes:
    """The flatbuffer of a `ModelT`, equal vectors stored once: most are zero points of channels, all 0.

    A converter names a constant after all operations that it fused, as it names their output. The last name is kept.
    """
    for graph in parsed.subgraphs:
        for tensor in graph.tensors:
            if parsed.buffers[tensor.buffer].data is not None:
                tensor.name = tensor.name.rpartition(b";")[2]
    builder = SharingBuilder(1024)
    builder.Finish(parsed.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def set_quantization(tensor: Any, scale: float, zero_point: int) -> None:
    """Let the integers of a tensor of a `ModelT` stand for other real values."""
    tensor.quantization.scale = np.array([scale], np.float32)
    tensor.quantization.zeroPoint = np.array([zero_point], np.int64)


def add_to_bias(parsed: Any, operator: Any, shift: npt.NDArray[np.floating[Any]] | float) -> None:
    """Add `shift`, for each output channel or for all, to the int32 bias of an operator of a `ModelT`, in real values.

    The converter stores equal biases once; what other operators share is copied first.
    """
    graph, index = parsed.subgraphs[0], operator.inputs[2]
    bias = graph.tensors[index]
    if sum(index in other.inputs for other in graph.operators) > 1:
        bias = copy.copy(bias)
        operator.inputs[2] = len(graph.tensors)
        graph.tensors.append(bias)
    if sum(tensor.buffer == bias.buffer for tensor in graph.tensors) > 1:
        parsed.buffers.append(copy.copy(parsed.buffers[bias.buffer]))
        bias.buffer = len(parsed.buffers) - 1
    buffer = parsed.buffers[bias.buffer]
    q_bias = np.frombuffer(bytes(buffer.data), np.int32) + np.rint(shift / np.asarray(bias.quantization.scale))
    buffer.data = np.frombuffer(q_bias.astype(np.int32).tobytes(), np.uint8)


class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Refers to an equal vector that is stored already."""

    __slots__ = ("stored",)

    def __init__(self, size: int) -> None:
        """With `size` bytes to begin with."""
        super().__init__(size)
        self.stored: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: npt.NDArray[np.generic]) -> int:
        """The offset of a vector of the values of `x`."""
        key = x.dtype.str, x.tobytes()
        if key not in self.stored:
            self.stored[key] = super().CreateNumpyVector(x)
        return self.stored[key]
