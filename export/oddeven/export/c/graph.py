"""An int8 `.tflite` file as plain data: its tensors, and the operators that are left to compute."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from oddeven.runtime.arrays import Array
from oddeven.runtime.errors import ModelError

DTYPES = {0: "float32", 2: "int32", 3: "uint8", 7: "int16", 9: "int8"}  # by the schema's TensorType
SHAPE_ARITHMETIC = ("SHAPE", "STRIDED_SLICE", "PACK")  # of a flatten; every shape is known here
SAME_BYTES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
# A product is a function of one tensor where both factors are: swish is x * logistic(x).
UNARY = ("QUANTIZE", "LOGISTIC", "TANH", "RELU", "RELU6", "HARD_SWISH", "LEAKY_RELU", "ELU", "MUL")
LOOKUP = "LOOKUP"


@dataclass(frozen=True)
class Tensor:
    """What flows between operators, or a constant.

    Attributes:
        place: equal for tensors that are the same bytes in another shape.
        shape: without the batch, but a constant's whole.
        scale: float32 (channels,), or (1,) for the whole tensor; empty where it is not quantized.
        data: a constant's values, else None.
    """

    place: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: Array
    zero_point: int
    data: Any


@dataclass(frozen=True)
class Operator:
    """One step; `kind` and `options` are the schema's, or `LOOKUP` and the output for each input byte, int8 (256,)."""

    kind: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    options: Any

    def refusal(self, why: str) -> ModelError:
        """The error for an operator that cannot be written in C."""
        return ModelError(f"The layer {self.output.name} ({self.kind}) {why}; this model cannot be exported to C.")


def read_graph(model: bytes) -> tuple[Sequence[Operator], Tensor, Sequence[Tensor]]:
    """The operators of a `.tflite` file in the order in which they are computed, its input, and its outputs.

    The second output, where there is one, is how familiar the image is.

    Operators that are functions of one tensor, value by value, are table lookups, several in a row a single one.

    Raises:
        ModelError: its input or an output is not uint8.
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator, ModelT

    kinds = {number: name for name, number in vars(BuiltinOperator).items()}
    whole = ModelT.InitFromPackedBuf(model, 0)
    part = whole.subgraphs[0]
    tensors = [_tensor(place, found, whole.buffers[found.buffer].data) for place, found in enumerate(part.tensors)]
    source, sinks = tensors[part.inputs[0]], [tensors[index] for index in part.outputs]
    for end in (source, *sinks):
        if end.dtype != "uint8":
            raise ModelError(f"The tensor {end.name} is {end.dtype}; C is made of tflite-int8 files with uint8 ends.")
    operators: list[Operator] = []
    waiting: dict[int, list[Any]] = {}  # tensor -> the unary operators that make it, until another operator needs it

    def compute(index: int) -> None:
        if unary := waiting.pop(index, None):
            operators.append(Operator(LOOKUP, (tensors[unary[0].inputs[0]],), tensors[index], _table(whole, unary)))

    for found in part.operators:
        code, output = whole.operatorCodes[found.opcodeIndex], found.outputs[0]
        kind = kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
        before = {index: waiting.get(index, []) for index in found.inputs}
        sources = {unary[0].inputs[0] if unary else index for index, unary in before.items()}
        if kind in UNARY and len(sources) == 1:
            waiting[output] = [*dict.fromkeys(one for unary in before.values() for one in unary), found]
        elif kind not in SHAPE_ARITHMETIC:
            for index in found.inputs:
                compute(index)
            inputs = tuple(tensors[index] for index in found.inputs if index >= 0)
            if kind in SAME_BYTES:
                tensors[output] = replace(tensors[output], place=inputs[0].place)
            else:
                operators.append(Operator(kind, inputs, tensors[output], found.builtinOptions))
    for index in part.outputs:
        compute(index)
    return operators, source, sinks


def _tensor(place: int, found: Any, content: Array | None) -> Tensor:
    name, dtype = found.name.decode().partition(";")[0], DTYPES.get(found.type, "of another type")
    shape = () if found.shape is None else tuple(map(int, found.shape))
    data = None if content is None or "int" not in dtype else np.frombuffer(bytes(content), dtype).reshape(shape)
    known = found.quantization is not None and found.quantization.scale is not None
    scale, zero_points = (found.quantization.scale, found.quantization.zeroPoint) if known else ((), (0,))
    shape = shape[1:] if data is None else shape
    return Tensor(place, name, shape, dtype, np.array(scale, np.float32), int(zero_points[0]), data)


def _table(whole: Any, operators: Sequence[Any]) -> Array:
    """What `operators` of the schema make of each byte, int8 (256,), by the byte as uint8.

    TFLite's reference kernels compute it, which tflite-micro shares.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from flatbuffers import Builder

    whole, builder = copy.deepcopy(whole), Builder()
    whole.signatureDefs, part = None, whole.subgraphs[0]
    part.operators, part.inputs, part.outputs = operators, operators[0].inputs[:1], operators[-1].outputs
    for tensor in (part.tensors[index] for one in operators for index in (*one.inputs, *one.outputs)):
        tensor.shape, tensor.shapeSignature = np.array([1, 256], np.int32), None
    builder.Finish(whole.Pack(builder), b"TFL3")
    resolver = OpResolverType.BUILTIN_REF
    interpreter = Interpreter(model_content=bytes(builder.Output()), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(source["index"], np.arange(256, dtype=np.uint8).view(source["dtype"])[np.newaxis])
    interpreter.invoke()
    q_outputs: Array = interpreter.get_tensor(sink["index"])[0]
    return q_outputs.view(np.int8)
