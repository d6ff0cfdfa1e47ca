"""Whether 8-bit products can overflow in an ONNX file: a proof from its weights, which needs no particular CPU.

For uint8 activations and int8 weights, onnxruntime multiplies on x86 CPUs with AVX2 or AVX-512 but without VNNI by
`vpmaddubsw`: two products next to each other in a sum are added in 16 bits, and what does not fit is cut off. Every
other kernel adds in 32 bits: those for VNNI, of ARM, of SSE, for uint8 weights, and for depthwise convolutions.
Pairs are the products 0 and 1, 2 and 3 and so on of a sum, in the order that `terms` gives.

An activation of 8 bits goes into the product as it is stored, 0 to 255, whatever its zero point, which is subtracted
from the finished sum. So a pair can overflow if, and only if, the positive or the negative weights in it add up to more
than `LIMIT`. int8 activations are no different: onnxruntime shifts them to uint8 first.

The few fields of the file that this needs are read here, because the package `onnx` is not on a device.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.arrays import Array
from oddeven.runtime.errors import ModelError
from oddeven.runtime.files import read_model_part

LIMIT = 128  # 255 * 128 = 32,640 fits into 16 bits, 255 * 129 = 32,895 does not
INT8 = 3  # TensorProto.DataType
REAL = ("Conv", "Gemm", "MatMul")  # of 8 bits where both operands come from a DequantizeLinear
WEIGHTS: Mapping[str, int] = {
    "Conv": 1, "Gemm": 1, "MatMul": 1, "ConvInteger": 1, "MatMulInteger": 1, "QLinearConv": 3, "QLinearMatMul": 3,
}  # fmt: skip
Fields = Mapping[int, list[Any]]


@dataclass(frozen=True)
class Overflow:
    """A layer in which pairs of 8-bit products can overflow 16 bits.

    Attributes:
        layer: its name.
        pairs: how many pairs of weights can, for some activations.
        of: how many pairs it has.
        seen: in what share of the layer's sums a pair did, over the calibration images, 0 to 1; None if not measured.
    """

    layer: str
    pairs: int
    of: int
    seen: float | None = None

    def __str__(self) -> str:
        share = "" if self.seen is None else f"{100 * self.seen:.2g}% of the sums on the calibration images"
        seen = f"; one does in {share}" if share else ""
        return f"{self.layer} ({self.pairs:,} of {self.of:,} pairs can{seen})"


@dataclass(frozen=True)
class Layer:
    """A layer of an ONNX file that multiplies 8-bit activations by int8 weights.

    Attributes:
        name: the Keras layer's, or its output's.
        kind: the node's operator.
        activations, output: the tensors that go in and come out.
        weights: int8, as stored.
        attributes: the node's: int, list of int, or bytes.
    """

    name: str
    kind: str
    activations: str
    output: str
    weights: npt.NDArray[np.int8]
    attributes: Mapping[str, Any]


def overflows(path: Path, content: bytes | None = None) -> tuple[Overflow, ...]:
    """The layers of the `.onnx` file `path`, whose `content` may have been read, in which pairs can overflow.

    Raises:
        ModelError: it cannot be read, or is not an ONNX file.
    """
    try:
        found = [
            (layer.name, pair_sums(terms(layer.weights, layer.kind, layer.attributes)) > LIMIT)
            for layer in layers(read_model_part(path) if content is None else content)
        ]
    except (IndexError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is damaged, or not an ONNX file ({error}).") from error
    return tuple(Overflow(name, int(over.sum()), over.size) for name, over in found if over.any())


def terms(weights: Array, kind: str, attributes: Mapping[str, Any]) -> Array:
    """`weights` as the terms of the layer's sums, (..., terms, sums), in the order in which kernels add them.

    For a convolution that is pixel by pixel and, within one, channel by channel, one group's sums after another's; a
    depthwise one has no terms, since its products are not added in pairs.
    """
    if "Conv" not in kind:
        return np.swapaxes(weights, -1, -2) if attributes.get("transB") else weights
    if weights.shape[0] == attributes.get("group", 1) and weights.shape[1] == 1:
        return weights[:0].reshape(0, weights.shape[0])
    return np.moveaxis(weights, (0, 1), (-1, -2)).reshape(-1, weights.shape[0])


def pair_sums(added: Array) -> Array:
    """For each pair of `added`, (..., terms, sums), the larger sum, that of its positive or of its negative members."""
    even = np.pad(added, [(0, 0)] * (added.ndim - 2) + [(0, added.shape[-2] % 2), (0, 0)])
    wide = even.astype(np.int16) if even.dtype == np.int8 else even
    first, second = wide[..., ::2, :], wide[..., 1::2, :]
    positive = np.maximum(first, 0) + np.maximum(second, 0)
    larger: Array = np.maximum(positive, positive - (first + second))
    return larger


def layer_name(tensor: str) -> str:
    """The Keras layers that a tensor's name stands for: `conv2d` in `cnn_1/conv2d_1/Relu;cnn_1/conv2d_1/BiasAdd`.

    TensorFlow opens each scope twice, so it adds a number to every layer's name; converters join the names of
    operations they fuse. Other tensors, such as the converters' own, give an empty name.
    """
    scopes = [operation.split("/")[1:-1] for operation in tensor.split(";")]
    names = ["/".join(re.sub(r"_\d+$", "", scope) for scope in path) for path in scopes]
    return " + ".join(dict.fromkeys(filter(None, names)))


def layers(model: bytes) -> Iterator[Layer]:
    """The layers of the content of an `.onnx` file that multiply 8-bit activations by int8 weights.

    Weights that are not in the file itself are assumed to be as large as possible.

    Raises:
        IndexError, KeyError, ValueError: it is not such content.
    """
    for graph in map(_fields, _fields(model)[7]):
        nodes = [_fields(node) for node in graph[1]]
        stored = {_text(tensor[8]): tensor for tensor in map(_fields, graph[5])}
        dequantized = {_text(n[2]): _text(n[1]) for n in nodes if _text(n[4]) == "DequantizeLinear"}
        for node in nodes:
            kind, inputs = _text(node[4]), [name.decode() for name in node[1]]
            if kind not in WEIGHTS:
                continue
            activations, weights = inputs[0], inputs[WEIGHTS[kind]]
            if kind in REAL:
                activations, weights = dequantized.get(activations, ""), dequantized.get(weights, "")
            if activations and weights in stored and stored[weights][2] == [INT8]:
                output = _text(node[2])
                attributes = dict(_attribute(_fields(attribute)) for attribute in node[5])
                name = layer_name(output) or output
                yield Layer(name, kind, activations, output, _int8(stored[weights]), attributes)


def _int8(tensor: Fields) -> npt.NDArray[np.int8]:
    """The values of a TensorProto of int8."""
    shape = _integers(tensor[1])
    if tensor[9]:
        return np.frombuffer(tensor[9][0], np.int8).reshape(shape)
    if tensor[5]:
        return np.array([value & 255 for value in _integers(tensor[5])], np.uint8).view(np.int8).reshape(shape)
    return np.full([2] * len(shape), 127, np.int8)


def _attribute(attribute: Fields) -> tuple[str, Any]:
    """Name and value of an AttributeProto."""
    single = attribute[3] or attribute[4]
    return _text(attribute[1]), single[0] if single else _integers(attribute[8])


def _text(values: list[bytes]) -> str:
    return values[0].decode() if values else ""


def _integers(values: list[Any]) -> list[int]:
    """A repeated integer field, packed or not."""
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        stream = io.BytesIO(value)
        while stream.tell() < len(value):
            found.append(_varint(stream))
    return found


def _fields(message: bytes) -> Fields:
    """A protobuf message's fields by number: varints as int, everything else as bytes; [] for an absent one.

    See protobuf.dev/programming-guides/encoding; numbers are those of onnx.proto.
    """
    found: dict[int, list[Any]] = defaultdict(list)
    stream = io.BytesIO(message)
    while stream.tell() < len(message):
        number, kind = divmod(_varint(stream), 8)
        if kind == 0:
            found[number].append(_varint(stream))
        else:
            size = _varint(stream) if kind == 2 else {1: 8, 5: 4}[kind]
            found[number].append(stream.read(min(size, len(message))))
    return found


def _varint(stream: io.BytesIO) -> int:
    value = shift = 0
    while (byte := stream.read(1)[0]) > 127:
        value, shift = value | (byte & 127) << shift, shift + 7
    return value | byte << shift
