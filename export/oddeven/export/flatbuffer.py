"""A TFLite file in fewer bytes than its converter leaves: nothing in it is written twice."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt

IDENTIFIER = b"TFL3"


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
