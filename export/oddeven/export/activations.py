"""What flows between the operators of a TFLite file."""

from __future__ import annotations

import numpy as np

from oddeven.runtime.arrays import Array


def tflite_activations(model: bytes, batch: Array) -> dict[str, Array]:
    """The input and the outputs of all operators, as real values, float32, by tensor name.

    Args:
        batch: in the dtype of the input.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,  # those keep no tensors
    )
    image = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(image, batch.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(image, batch)
    interpreter.invoke()
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    made = [index for operation in interpreter._get_ops_details() for index in operation["outputs"]]
    found = {}
    for index in (image, *made):
        scale, zero_point = tensors[index]["quantization"]
        if scale or tensors[index]["dtype"] is np.float32:
            x = interpreter.get_tensor(index).astype(np.float32)
            found[tensors[index]["name"]] = (x - zero_point) * np.float32(scale) if scale else x
    return found
