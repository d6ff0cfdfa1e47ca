"""The Open Inference Protocol, version 2: requests to images, predictions to responses.

https://github.com/kserve/open-inference-protocol, with the binary tensor extension of
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.errors import DataError
from oddeven.runtime.prediction import Prediction
from oddeven.runtime.spec import InputSpec, ModelSpec

HEADER_LENGTH = "inference-header-content-length"
IMAGE, PROBABILITY, LABEL, FAMILIARITY = "image", "probability", "label", "familiarity"
DATATYPES = {PROBABILITY: "FP32", LABEL: "BYTES", FAMILIARITY: "FP32"}
KNOWN_HEADER_BYTES = 1024
LENGTH = re.compile("[0-9]{1,10}")  # `int` refuses thousands of digits


Images = Pixels | tuple[bytes, ...]


class Header(NamedTuple):
    """The JSON of a request.

    Attributes:
        id: the client's own, to be returned; "" for none.
        binary: for each wanted output, by name, whether it is to be sent as bytes behind the JSON.
        tensor: the input.
        datatype: the input's; anything, as the client sent it.
        shape: the input's.
        total: how many values that is.
        size: how many bytes of it follow the JSON; -1 where its data are in the JSON.
    """

    id: str
    binary: Mapping[str, bool]
    tensor: Mapping[str, Any]
    datatype: Any
    shape: tuple[int, ...]
    total: int
    size: int


def model_metadata(name: str, spec: ModelSpec) -> dict[str, Any]:
    """The response to a model metadata request. An image may also be given as a file: BYTES [-1]."""
    return {
        "name": name,
        "versions": ["1"],
        "platform": "oddeven",
        "inputs": [{"name": IMAGE, "datatype": "UINT8", "shape": [-1, *spec.input.shape]}],
        "outputs": [{"name": name, "datatype": DATATYPES[name], "shape": [-1, 1]} for name in _outputs(spec)],
        "parameters": {"labels": list(spec.labels), "threshold": spec.threshold},
    }


def parse(body: bytes, header_length: str | None, spec: ModelSpec) -> tuple[Header, Images]:
    """An inference request for a model.

    Args:
        header_length: of the JSON at the head of `body`, where bytes of tensors follow; None where it is all JSON.

    Returns:
        What it says, and its images: pixels, uint8 (N, *input.shape), ready for the model, or image files, to be
        decoded and prepared.

    Raises:
        DataError: it is malformed, or not for such a model.
    """
    head, tail = body, b""
    if header_length is not None:
        if not (LENGTH.fullmatch(header_length) and int(header_length) <= len(body)):
            raise DataError(
                f"{HEADER_LENGTH} is {header_length[:20]!r}; expected at most the body's {len(body)} bytes."
            )
        head, tail = body[: int(header_length)], body[int(header_length) :]
    header = (_known_header if tail and len(head) <= KNOWN_HEADER_BYTES else _header)(head, _outputs(spec))
    return header, _files(header, tail) if header.datatype == "BYTES" else _pixels(header, tail, spec.input)


def response(
    name: str, request: Header, predictions: Sequence[Prediction], spec: ModelSpec
) -> tuple[bytes, dict[str, str]]:
    """The response's body and headers."""
    outputs, tail = [], b""
    for output, binary in request.binary.items():
        values = _values(output, predictions, spec)
        described: dict[str, Any] = {"name": output, "datatype": DATATYPES[output], "shape": [len(values), 1]}
        if binary:
            encoded = b"".join(map(_prefixed, values)) if output == LABEL else np.array(values, "<f4").tobytes()
            described["parameters"] = {"binary_data_size": len(encoded)}
            tail += encoded
        else:
            described["data"] = values
        outputs.append(described)
    identified = {"id": request.id} if request.id else {}
    head = json.dumps({**identified, "model_name": name, "model_version": "1", "outputs": outputs}).encode()
    if not tail:
        return head, {"content-type": "application/json"}
    return head + tail, {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(head))}


def _values(output: str, predictions: Sequence[Prediction], spec: ModelSpec) -> list[Any]:
    if output == PROBABILITY:
        second = spec.labels[1]
        return [prediction.scores[second] for prediction in predictions]
    return [getattr(prediction, output) for prediction in predictions]


def _outputs(spec: ModelSpec) -> tuple[str, ...]:
    """The names of the model's outputs."""
    return tuple(DATATYPES) if spec.familiarity else (PROBABILITY, LABEL)


def _wanted(request: dict[str, Any], known: tuple[str, ...]) -> dict[str, bool]:
    """The wanted ones of the `known` outputs, all of them where none is named, and whether each is to be binary."""
    binary = _field(_field(request, "parameters", dict, {}), "binary_data_output", bool, False)
    outputs = [_typed(output, dict, "An output") for output in _field(request, "outputs", list, [])]
    if not outputs:
        return dict.fromkeys(known, binary)
    wanted = {}
    for output in outputs:
        name = output.get("name")
        if name not in known:
            raise DataError(f"There is no output {name!r:.100}; the model's are {', '.join(known)}.")
        wanted[name] = _field(_field(output, "parameters", dict, {}), "binary_data", bool, binary)
    return wanted


def _header(head: bytes, outputs: tuple[str, ...]) -> Header:
    """The JSON of a request to a model that has `outputs`."""
    try:
        request = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise DataError(f"The request is no JSON: {error}.") from error
    inputs = _field(_typed(request, dict, "The request"), "inputs", list)
    if len(inputs) != 1:
        raise DataError(f"The request has {len(inputs)} inputs; expected one, {IMAGE!r}.")
    tensor = _typed(inputs[0], dict, "The input")
    if tensor.get("name") != IMAGE:
        raise DataError(f"There is no input {tensor.get('name')!r:.100}; the model's is {IMAGE!r}.")
    shape = _field(tensor, "shape", list)
    if not shape or not all(type(size) is int and 0 < size < 1 << 31 for size in shape):
        raise DataError(f"The input has the shape {shape!r:.100}; expected numbers of at least 1.")
    size = _field(_field(tensor, "parameters", dict, {}), "binary_data_size", int, -1)
    identifier, wanted = _field(request, "id", str, ""), _wanted(request, outputs)
    return Header(identifier, wanted, tensor, tensor.get("datatype"), tuple(shape), prod(shape), size)


_known_header = lru_cache(256)(_header)  # a client that sends pixels as bytes repeats its JSON


def _pixels(header: Header, tail: bytes, view: InputSpec) -> Pixels:
    """A tensor of pixels, uint8 (N, *view.shape)."""
    shape = header.shape
    if header.datatype != "UINT8":
        raise DataError(f"The input is {header.datatype!r:.20}; expected UINT8 pixels, or BYTES: image files.")
    if shape[1:] != view.shape:
        raise DataError(f"The input has the shape {list(shape)!s:.100}; expected {[-1, *view.shape]}.")
    content = _binary(header, tail)
    if content is None:
        values = np.asarray(_flat(header.tensor, header.total))
        if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
            raise DataError("The input's data are not whole numbers from 0 to 255.")
        return values.astype(np.uint8).reshape(shape)
    if len(content) != header.total:
        raise DataError(f"The input has {len(content)} bytes; expected {header.total} for the shape {list(shape)}.")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _files(header: Header, tail: bytes) -> tuple[bytes, ...]:
    """Image files: each behind its length, 4 bytes little endian, or, in JSON, as base64."""
    count, content = header.total, _binary(header, tail)
    if content is None:
        try:
            return tuple(base64.b64decode(text, validate=True) for text in _flat(header.tensor, count))
        except (binascii.Error, TypeError, ValueError) as error:
            raise DataError(f"BYTES in JSON are image files as base64; these are not: {error}.") from error
    files, start = [], 0
    while start + 4 <= len(content):
        (size,) = struct.unpack_from("<I", content, start)
        files.append(content[start + 4 : start + 4 + size])
        start += 4 + size
    if start != len(content) or len(files) != count:
        raise DataError(f"The input's bytes are not {count} files, each behind its length in 4 bytes, little endian.")
    return tuple(files)


def _binary(header: Header, tail: bytes) -> bytes | None:
    """The tensor's bytes behind the JSON; None where its data are in the JSON."""
    if header.size == -1:
        return None
    if header.size != len(tail):
        raise DataError(f"{len(tail)} bytes follow the JSON; binary_data_size says {header.size}.")
    return tail


def _flat(tensor: Mapping[str, Any], count: int) -> list[Any]:
    """The tensor's data in the JSON, `count` values, nested or not."""
    values: list[Any] = _field(tensor, "data", list)
    while values and all(isinstance(value, list) for value in values):
        values = [inner for value in values for inner in value]
    if len(values) != count or any(isinstance(value, list) for value in values):
        raise DataError(f"The input's data do not fill its shape, which has {count} values.")
    return values


def _field(fields: Mapping[str, Any], name: str, kind: type, default: Any = None) -> Any:
    """The field `name`, of the type `kind`; without a default it must be there."""
    value = fields.get(name, default)
    return _typed(value, kind, f"{name!r}")


def _typed(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DataError(f"{what} is {value!r:.50}; expected {NAMES[kind]}.")
    return value


def _prefixed(label: str) -> bytes:
    encoded = label.encode()
    return struct.pack("<I", len(encoded)) + encoded


NAMES = {dict: "an object", list: "a list", str: "text", int: "a whole number", bool: "true or false"}
